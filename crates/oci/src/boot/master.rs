//! A master's way: the secrets, its address, the other masters, the store, the configuration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::api::{Api, ApiError, Vault};
use super::error::BootError;
use super::host::{Host, Line, Unit};
use super::identity::{MASTERS, MasterIdentity, master_name};
use super::lease::{Attempt, Lease};
use super::progress::Step;
use super::run::Boot;
use super::secrets::{SecretSet, address_name, address_of, address_value};
use super::settings;
use super::store::Seat;
use super::vault::Stopped;
use super::wait::{Awaited, Wait};

/// Machines of one apply start minutes apart.
const MASTERS_COME: Duration = Duration::from_secs(30 * 60);

impl<A: Api, H: Host> Boot<'_, A, H> {
    pub(super) async fn master(&mut self, vault: &Vault, master: &MasterIdentity) -> Result<(), BootError> {
        let set = self.make_or_await_secrets(vault, master).await?;
        self.publish_address(vault, master).await?;
        let seats = self.await_masters(master).await?;
        self.refresh_urls(vault, master, &set).await?;
        self.form_store(master, &set, &seats).await?;
        self.run.step(Step::Settings).await?;
        let addresses: Vec<Ipv4Addr> = seats.iter().map(|seat| seat.address).collect();
        let files = settings::master(self.host, &self.id, master, &set, &addresses)?;
        self.write_and_start(files, &[Unit::Node]).await
    }

    async fn publish_address(&mut self, vault: &Vault, master: &MasterIdentity) -> Result<(), BootError> {
        self.run.step(Step::Address).await?;
        let name = address_name(master.number);
        let value = address_value(&self.id.generation, self.id.private_address);
        if let Ok(Some(shown)) = self.api.read_secret(&self.id.place, &name).await
            && shown.value == value
        {
            return Ok(());
        }
        let written = match self.key(None, vault).await {
            Ok(key) => self.put_secret(None, &key, &name, &value).await,
            Err(stopped) => Err(stopped),
        };
        match written {
            // There is no lease to lose.
            Ok(_) | Err(Stopped::LeaseLost) => {}
            Err(Stopped::Failed(error)) => return Err(error),
        }
        self.step_done(format!("the others can read this master's address, {}", self.id.private_address));
        Ok(())
    }

    async fn await_masters(&mut self, master: &MasterIdentity) -> Result<Vec<Seat>, BootError> {
        self.run.step(Step::Masters).await?;
        let awaited = Awaited {
            what: "the addresses of all masters".to_owned(),
            patience: MASTERS_COME,
            check: "that their instances run, and `journalctl -u sala-boot` there".to_owned(),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        let mut known: BTreeMap<u8, Ipv4Addr> = BTreeMap::from([(master.number, self.id.private_address)]);
        loop {
            let mut failed = None;
            for number in (1..=MASTERS).filter(|number| *number != master.number) {
                if known.contains_key(&number) {
                    continue;
                }
                match self.published_address(number).await {
                    Ok(Some(address)) => drop(known.insert(number, address)),
                    Ok(None) => {}
                    Err(error) => failed = Some(error),
                }
            }
            if known.len() == usize::from(MASTERS) {
                wait.over(&mut self.run).await?;
                let seat = |(number, address)| Seat { name: master_name(&self.id.stack, number), address };
                return Ok(known.into_iter().map(seat).collect());
            }
            let missing: Vec<String> = (1..=MASTERS)
                .filter(|number| !known.contains_key(number))
                .map(|number| master_name(&self.id.stack, number))
                .collect();
            match failed {
                Some(error) => wait.after(&mut self.run, error).await?,
                None => wait.again(&mut self.run, &format!("{} still to come", missing.join(", "))).await?,
            }
        }
    }

    /// A master's address, if it has published it in this deployment.
    pub(super) async fn published_address(&self, number: u8) -> Result<Option<Ipv4Addr>, ApiError> {
        let value = self.api.read_secret(&self.id.place, &address_name(number)).await?;
        Ok(value.and_then(|value| address_of(&self.id.generation, &value.value)))
    }

    /// The addresses that the Vault shows follow the domain. One master mends them; nobody waits for it.
    async fn refresh_urls(
        &mut self,
        vault: &Vault,
        master: &MasterIdentity,
        set: &SecretSet,
    ) -> Result<(), BootError> {
        use super::secrets::{LIVEKIT_URL, OPENVIDU_URL};
        let mut wrong = Vec::new();
        for (name, value) in [(OPENVIDU_URL, set.openvidu_url()), (LIVEKIT_URL, set.livekit_url())] {
            match self.api.read_secret(&self.id.place, name).await {
                Ok(Some(shown)) if shown.value.reveal() == value => {}
                Ok(_) => wrong.push((name, value.into())),
                Err(_) => {}
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let holder = master_name(&self.id.stack, master.number);
        let Ok(Attempt::Held(mut lease)) = Lease::acquire(self.api, self.host, &self.id.place, &holder).await
        else {
            return Ok(());
        };
        let mut outcome = Ok(());
        match self.key(Some(&mut lease), vault).await {
            Ok(key) => {
                for (name, value) in &wrong {
                    outcome =
                        outcome.and(self.put_secret(Some(&mut lease), &key, name, value).await.map(drop));
                }
            }
            Err(stopped) => outcome = Err(stopped),
        }
        lease.release(self.api, &self.id.place).await;
        if let Err(Stopped::Failed(error)) = outcome {
            self.host
                .say(Line::Warning(format!("the URLs in the Vault are not those of the domain: {error}")));
        }
        Ok(())
    }
}
