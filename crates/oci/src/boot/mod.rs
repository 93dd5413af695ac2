//! From a fresh instance to a running node: what `sala oci boot` does, in the order of the deployment guide.
//!
//! [`boot`] runs the steps of [`Step`]. Every step looks at what is there before it does anything, and may be repeated:
//! a boot that was killed anywhere goes on when it is started again, and [`progress`] tells where it was. Every wait has
//! a deadline and one clear line. What is asked of the cloud is behind [`Api`], what is asked of the machine behind
//! [`Host`], so that a simulation can run four masters through every order and crash.
//!
//! What it is not: the node. Boot writes the node's configuration and starts its unit.

mod api;
mod error;
mod flags;
mod form_store;
mod host;
mod identity;
mod lease;
mod master;
mod media;
mod oracle;
pub mod progress;
mod run;
pub mod secrets;
pub mod settings;
mod shared_secrets;
pub mod store;
mod vault;
mod wait;

use std::time::Duration;

pub use api::{
    Api, ApiError, ETag, Expected, Facts, Key, Object, SecretHead, SecretState, SecretValue, Vault, Version,
};
pub use error::BootError;
pub use flags::{FlagError, Flags};
pub use host::{
    Authority, Host, HostError, Line, Member, Mode, StoreAccess, StoreError, Unit, UnitState, Users,
};
pub use identity::{
    CertificateKind, Identity, IdentityError, MASTERS, MasterIdentity, MediaIdentity, Place, Role, RtcEngine,
    master_name,
};
pub use lease::{OBJECT as LOCK_OBJECT, Record as LockRecord, TTL_S as LOCK_TTL_S};
pub use oracle::OracleApi;
pub use progress::Step;

use run::{Boot, Run};
use wait::{Awaited, Wait};

/// The metadata service is there as soon as the network is.
const METADATA: Duration = Duration::from_secs(5 * 60);
/// New policies take one or two minutes; a new Vault some more.
const ACCESS: Duration = Duration::from_secs(15 * 60);
/// With a configuration to go on with, nobody should wait long.
const ACCESS_AGAIN: Duration = Duration::from_secs(2 * 60);

/// Brings this machine into its cluster, and its node to a start.
///
/// # Errors
/// Says what to mend; the next run goes on from there. What was configured before is left as it is.
pub async fn boot<A: Api, H: Host>(api: &A, host: &H) -> Result<(), BootError> {
    let mut run = Run::begin(host).await?;
    let outcome = match identify(api, &mut run).await {
        Ok(id) => {
            run.progress.generation.clone_from(&id.generation);
            let mut boot = Boot { api, host, id, run };
            let outcome = boot.whole().await;
            run = boot.run;
            outcome
        }
        Err(error) => Err(error),
    };
    match &outcome {
        Ok(()) => run.step(Step::Done).await?,
        Err(error) => run.failed(error).await,
    }
    outcome
}

async fn identify<A: Api, H: Host>(api: &A, run: &mut Run<'_, H>) -> Result<Identity, BootError> {
    let awaited = Awaited {
        what: "the instance metadata".to_owned(),
        patience: METADATA,
        check: "`curl -H 'Authorization: Bearer Oracle' http://169.254.169.254/opc/v2/instance/`".to_owned(),
    };
    let mut wait = Wait::new(run.host.now(), awaited);
    loop {
        match api.facts().await {
            Ok(facts) => {
                wait.over(run).await?;
                return Ok(Identity::read(&facts)?);
            }
            Err(error) => wait.after(run, error).await?,
        }
    }
}

impl<A: Api, H: Host> Boot<'_, A, H> {
    async fn whole(&mut self) -> Result<(), BootError> {
        let role = self.id.role.clone();
        self.step_done(format!(
            "this is {} ({}), deployment {}",
            self.id.node_name(),
            self.id.private_address,
            self.id.generation
        ));
        if matches!(&role, Role::Master(master) if master.engine == RtcEngine::Mediasoup) {
            let line = "rtcEngine = mediasoup is accepted for compatibility: Sala has one engine of its own, and runs it";
            self.step_done(line.to_owned());
        }
        self.run.step(Step::Access).await?;
        match &role {
            Role::Master(master) => {
                let vault = self.reach_vault().await?;
                self.master(&vault, master).await
            }
            Role::Media(media) => {
                self.reach_secrets().await?;
                self.media(media).await
            }
        }
    }

    async fn access(&self) -> Result<Wait, BootError> {
        let again = self.host.read(settings::CONFIG).await?.is_some();
        let awaited = Awaited {
            what: "access to the Vault".to_owned(),
            patience: if again { ACCESS_AGAIN } else { ACCESS },
            check: "the stack's dynamic groups and policies (new ones take two minutes), and the route to Oracle's services"
                .to_owned(),
        };
        Ok(Wait::new(self.host.now(), awaited))
    }

    /// Waits until policies let this master use the Vault.
    async fn reach_vault(&mut self) -> Result<Vault, BootError> {
        let mut wait = self.access().await?;
        loop {
            match self.look_at_vault().await {
                Ok(vault) if vault.state == "ACTIVE" => {
                    wait.over(&mut self.run).await?;
                    return Ok(vault);
                }
                Ok(vault) => wait.again(&mut self.run, &format!("it is {}", vault.state)).await?,
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    /// Both the Vault and what is in it must be readable: two policies.
    async fn look_at_vault(&self) -> Result<Vault, ApiError> {
        let vault = self.api.vault(&self.id.place).await?;
        self.api.find_secret(&self.id.place, secrets::MARKER).await?;
        Ok(vault)
    }

    /// A media node may only read values. One that is missing looks like one that it may not read yet.
    async fn reach_secrets(&mut self) -> Result<(), BootError> {
        let mut wait = self.access().await?;
        loop {
            match self.api.read_secret(&self.id.place, secrets::MARKER).await {
                Ok(_) => return wait.over(&mut self.run).await,
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    /// Puts a node's files in place and starts it. A running one goes on with what it read until it is restarted.
    async fn write_and_start(&mut self, files: Vec<settings::File>, units: &[Unit]) -> Result<(), BootError> {
        let changed = settings::write(self.host, &files).await?;
        self.run.step(Step::Start).await?;
        for unit in units {
            let runs = self.host.state(*unit).await? == UnitState::Active;
            // Nobody is served by the drain watch, so it need not wait until somebody restarts it.
            if runs && changed && *unit == Unit::DrainWatch {
                self.host.restart(*unit).await?;
                self.step_done(format!("{} runs with the new configuration", unit.name()));
                continue;
            }
            self.host.start(*unit).await?;
            let line = match (runs, changed) {
                (true, true) => format!(
                    "{} runs with the former configuration; `systemctl restart {}` applies the new one",
                    unit.name(),
                    unit.name()
                ),
                (true, false) => format!("{} runs", unit.name()),
                (false, _) => format!("{} starts", unit.name()),
            };
            self.step_done(line);
        }
        Ok(())
    }
}
