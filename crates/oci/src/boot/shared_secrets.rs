//! The cluster's secrets in the Vault: made by one master, awaited by the others, read by every node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use auth::Secret;

use super::api::{Api, SecretState, Vault};
use super::error::BootError;
use super::host::Host;
use super::identity::{MasterIdentity, master_name};
use super::lease::{Attempt, Lease, SecretsMade};
use super::progress::Step;
use super::run::Boot;
use super::secrets::{self, BadSecret, MARKER, SecretSet, VERSIONS, Versions};
use super::vault::{Stopped, UNREADABLE};
use super::wait::{Awaited, Wait};

/// A balancer may come minutes after the masters.
const BALANCER: Duration = Duration::from_secs(20 * 60);
/// Whoever makes the secrets may first wait for the balancer, and may die and be replaced.
const SECRETS: Duration = Duration::from_secs(30 * 60);
/// The Vault's name may not resolve for minutes after it is active.
const KEY: Duration = Duration::from_secs(15 * 60);
/// Reads lag behind writes.
const CONSISTENT: Duration = Duration::from_secs(5 * 60);
/// What an old API key is overwritten with in a reused Vault, when this deployment has none. No key looks so.
const NO_API_KEY: &str = "(none)";

impl<A: Api, H: Host> Boot<'_, A, H> {
    /// On a master: the secrets; makes them if no other master does.
    pub(super) async fn make_or_await_secrets(
        &mut self,
        vault: &Vault,
        master: &MasterIdentity,
    ) -> Result<SecretSet, BootError> {
        self.run.step(Step::Secrets).await?;
        let others = "journalctl -u sala-boot on the master that makes them".to_owned();
        let mut wait = Wait::new(self.host.now(), self.secrets_awaited(others));
        let holder = master_name(&self.id.stack, master.number);
        loop {
            match self.marked().await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    wait.after(&mut self.run, error).await?;
                    continue;
                }
            }
            let state = match Lease::acquire(self.api, self.host, &self.id.place, &holder).await {
                Ok(Attempt::Held(mut lease)) => match self.make_secrets(&mut lease, vault, master).await {
                    Ok(()) => {
                        lease.release(self.api, &self.id.place).await;
                        break;
                    }
                    Err(Stopped::LeaseLost) => "another master took over".to_owned(),
                    Err(Stopped::Failed(error)) => {
                        lease.release(self.api, &self.id.place).await;
                        return Err(error);
                    }
                },
                Ok(Attempt::By(record)) => {
                    format!("{} makes them, or another master after its lock has ended", record.holder)
                }
                Ok(Attempt::Raced) => "another master was faster".to_owned(),
                Err(error) => {
                    wait.after(&mut self.run, error).await?;
                    continue;
                }
            };
            wait.again(&mut self.run, &state).await?;
        }
        wait.over(&mut self.run).await?;
        self.read_secrets(true).await
    }

    /// On a media node.
    pub(super) async fn await_secrets(&mut self) -> Result<SecretSet, BootError> {
        self.run.step(Step::Secrets).await?;
        let check =
            "journalctl -u sala-boot on the masters, and the policy to read secret bundles".to_owned();
        let mut wait = Wait::new(self.host.now(), self.secrets_awaited(check));
        loop {
            match self.marked().await {
                Ok(true) => break,
                Ok(false) => wait.again(&mut self.run, "the masters have not made them yet").await?,
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
        wait.over(&mut self.run).await?;
        self.read_secrets(false).await
    }

    fn secrets_awaited(&self, check: String) -> Awaited {
        Awaited {
            what: format!("the secrets of deployment {} in the Vault", self.id.generation),
            patience: SECRETS,
            check,
        }
    }

    /// Whether the secrets of this deployment are complete.
    async fn marked(&self) -> Result<bool, super::api::ApiError> {
        let marker = self.api.read_secret(&self.id.place, MARKER).await?;
        Ok(marker.is_some_and(|marker| marker.value.reveal() == self.id.generation))
    }

    async fn make_secrets(
        &mut self,
        lease: &mut Lease,
        vault: &Vault,
        master: &MasterIdentity,
    ) -> Result<(), Stopped> {
        let domain = self.domain(lease, master).await?;
        let key = self.key(Some(lease), vault).await?;
        // One that died after it had written all values left only the end to us.
        let made = lease.done.secrets_made.clone();
        let versions = match made.filter(|made| made.generation == self.id.generation) {
            Some(made) => Versions(made.versions),
            None => self.write_new_secrets(lease, &key, domain, master).await?,
        };
        self.put_secret(Some(lease), &key, VERSIONS, &versions.to_value(&self.id.generation)).await?;
        let marker = Secret::from(self.id.generation.as_str());
        self.put_secret(Some(lease), &key, MARKER, &marker).await?;
        self.step_done("the cluster's secrets are in the Vault".to_owned());
        Ok(())
    }

    async fn write_new_secrets(
        &mut self,
        lease: &mut Lease,
        key: &str,
        domain: String,
        master: &MasterIdentity,
    ) -> Result<Versions, Stopped> {
        self.step_done(format!("this master makes the secrets of deployment {}", self.id.generation));
        let set = SecretSet::generate(
            self.host,
            &self.id.stack,
            domain,
            master.initial_admin_password.clone(),
            master.initial_api_key.clone(),
        )
        .map_err(BootError::from)?;
        let mut versions = BTreeMap::new();
        for (name, value) in set.to_vault() {
            let version = self.put_secret(Some(lease), key, name, &value).await?;
            versions.insert(name.to_owned(), version);
        }
        self.overwrite_old_api_key(lease, key, master).await?;
        // From here on nobody may make others: somebody may read these.
        let generation = self.id.generation.clone();
        lease.done.secrets_made = Some(SecretsMade { generation, versions: versions.clone() });
        self.confirm(lease).await?;
        Ok(Versions(versions))
    }

    async fn overwrite_old_api_key(
        &mut self,
        lease: &mut Lease,
        key: &str,
        master: &MasterIdentity,
    ) -> Result<(), Stopped> {
        let name = secrets::MEET_INITIAL_API_KEY;
        if master.initial_api_key.is_some() {
            return Ok(());
        }
        if let Ok(None) = self.api.find_secret(&self.id.place, name).await {
            return Ok(());
        }
        self.put_secret(Some(lease), key, name, &NO_API_KEY.into()).await.map(drop)
    }

    /// The operator's domain; else a name that resolves to the balancer's address, or the address itself.
    async fn domain(&mut self, lease: &mut Lease, master: &MasterIdentity) -> Result<String, Stopped> {
        if let Some(domain) = &master.domain {
            return Ok(domain.clone());
        }
        let awaited = Awaited {
            what: "the public address of the network load balancer".to_owned(),
            patience: BALANCER,
            check: format!("that {} is active in the console and has a public IP", master.balancer),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        loop {
            self.confirm(lease).await?;
            match self.api.balancer_address(&master.balancer).await {
                Ok(Some(address)) => {
                    wait.over(&mut self.run).await?;
                    return Ok(if master.flags.by_address {
                        address.to_string()
                    } else {
                        derived_name(address)
                    });
                }
                Ok(None) => wait.again(&mut self.run, "it has none yet").await?,
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    /// The key that secrets are encrypted with. Who has the lease makes one if there is none.
    pub(super) async fn key(
        &mut self,
        mut lease: Option<&mut Lease>,
        vault: &Vault,
    ) -> Result<String, Stopped> {
        if let Some(key) = &self.id.place.key {
            return Ok(key.clone());
        }
        let name = self.id.key_name();
        let awaited = Awaited {
            what: format!("the key {name} of the Vault"),
            patience: KEY,
            check: format!("that this machine resolves {} and the key is enabled", vault.management_endpoint),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        loop {
            let mut keys = match self.api.keys(vault, &name).await {
                Ok(keys) => keys,
                Err(error) => {
                    wait.after(&mut self.run, error).await?;
                    continue;
                }
            };
            // Two masters that both made one, because one was held up, agree on the older.
            keys.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
            let usable = |state: &str| matches!(state, "ENABLED" | "CREATING" | "ENABLING");
            match (keys.iter().find(|key| usable(&key.state)), lease.as_deref_mut()) {
                (Some(key), _) if key.state == "ENABLED" => {
                    wait.over(&mut self.run).await?;
                    return Ok(key.id.clone());
                }
                (Some(key), _) => wait.again(&mut self.run, &format!("it is {}", key.state)).await?,
                (None, Some(lease)) => {
                    self.confirm(lease).await?;
                    match self.api.create_key(vault, &name).await {
                        Ok(_) => wait.again(&mut self.run, "it was just made").await?,
                        Err(error) => wait.after(&mut self.run, error).await?,
                    }
                }
                (None, None) => wait.again(&mut self.run, "there is none of that name").await?,
            }
        }
    }

    /// Reads the secrets once they are complete.
    async fn read_secrets(&mut self, may_restore: bool) -> Result<SecretSet, BootError> {
        let versions = self.read_versions().await?;
        let mut values = BTreeMap::new();
        for name in secrets::NEEDED {
            if let Some(value) = self.read_one(name, versions.of(name), may_restore).await? {
                values.insert(name, value);
            }
        }
        Ok(SecretSet::from_vault(self.host, &values)?)
    }

    async fn read_versions(&mut self) -> Result<Versions, BootError> {
        let mut wait = self.consistent(VERSIONS);
        loop {
            match self.api.read_secret(&self.id.place, VERSIONS).await {
                Ok(value) => {
                    let versions = value.and_then(|v| Versions::from_value(&self.id.generation, &v.value));
                    if let Some(versions) = versions {
                        wait.over(&mut self.run).await?;
                        return Ok(versions);
                    }
                    if wait.again(&mut self.run, "it is not yet of this deployment").await.is_err() {
                        return Err(BootError::Secret(BadSecret {
                            name: VERSIONS,
                            problem: "is not of this deployment".to_owned(),
                            expected: "the version that was current when the secrets were made",
                        }));
                    }
                }
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    /// `None`: there is no such secret, and nothing brings it back.
    async fn read_one(
        &mut self,
        name: &'static str,
        least: u64,
        may_restore: bool,
    ) -> Result<Option<Secret>, BootError> {
        let mut wait = self.consistent(name);
        loop {
            match self.api.read_secret(&self.id.place, name).await {
                Ok(Some(value)) if value.version >= least => {
                    wait.over(&mut self.run).await?;
                    return Ok(Some(value.value));
                }
                Ok(Some(_)) => wait.again(&mut self.run, "an older version is still shown").await?,
                Ok(None) => {
                    let state = match may_restore {
                        true => self.look_for(name).await,
                        false => {
                            "there is none, or the policy does not let this machine read its value".to_owned()
                        }
                    };
                    if wait.again(&mut self.run, &state).await.is_err() {
                        return Ok(None);
                    }
                }
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    /// Why a secret has no value to read; one that somebody deleted is brought back while that can be done.
    async fn look_for(&self, name: &str) -> String {
        let head = match self.api.find_secret(&self.id.place, name).await {
            Ok(Some(head)) => head,
            Ok(None) => return "there is none of that name".to_owned(),
            Err(error) => return error.to_string(),
        };
        match head.state {
            SecretState::Active => UNREADABLE.to_owned(),
            SecretState::Moving(state) => format!("it is {state}"),
            SecretState::PendingDeletion => match self.restore(&head.id, name).await {
                Ok(()) => "it comes back from pending deletion".to_owned(),
                Err(error) => format!("it is pending deletion and cannot be restored: {error}"),
            },
        }
    }

    /// Whether the lease is still ours; asked again while nobody answers.
    async fn confirm(&mut self, lease: &mut Lease) -> Result<(), Stopped> {
        let awaited = Awaited {
            what: format!("an answer of the bucket {} about boot.lock", self.id.place.bucket_cluster_data),
            patience: CONSISTENT,
            check: "the bucket, and the policy for boot.lock in it".to_owned(),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        loop {
            match lease.confirm(self.api, self.host, &self.id.place).await {
                Ok(true) => return Ok(wait.over(&mut self.run).await?),
                Ok(false) => return Err(Stopped::LeaseLost),
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    fn consistent(&self, name: &str) -> Wait {
        let awaited = Awaited {
            what: format!("the secret {name}"),
            patience: CONSISTENT,
            check: format!("{name} in the console under Vault, Secrets: it must be active"),
        };
        Wait::new(self.host.now(), awaited)
    }
}

/// A name that resolves to the address without anybody's DNS zone.
fn derived_name(address: IpAddr) -> String {
    let dashes = match address {
        IpAddr::V4(v4) => v4.to_string().replace('.', "-"),
        IpAddr::V6(v6) => v6.to_string().replace(':', "-"),
    };
    format!("{dashes}.sslip.io")
}
