//! The store beside the masters: this one's member brought into the cluster, and the users made once.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::api::{Api, ApiError};
use super::error::BootError;
use super::host::{Host, Line, Member, Mode, StoreAccess, Unit, Users};
use super::identity::{MasterIdentity, master_name};
use super::lease::{Attempt, Lease, Record};
use super::progress::Step;
use super::run::Boot;
use super::secrets::SecretSet;
use super::settings;
use super::store::{self, Action, Seat, Situation};
use super::wait::{Awaited, Wait};

/// A majority must have come that far.
const STORE: Duration = Duration::from_secs(20 * 60);
/// What is asked is this machine.
const STORE_PAUSE: Duration = Duration::from_secs(1);

const ENVIRONMENT: &str = "/etc/sala/etcd.env";
const DATA: &str = "/var/lib/sala/etcd";
/// There once the member has begun.
const DATA_LOG: &str = "/var/lib/sala/etcd/member/wal";
/// Of which cluster the data is.
const DATA_OF: &str = "/var/lib/sala/etcd.cluster";
const CERTIFICATE: &str = "/etc/sala/etcd.pem";
const KEY: &str = "/etc/sala/etcd.key";

impl<A: Api, H: Host> Boot<'_, A, H> {
    pub(super) async fn form_store(
        &mut self,
        master: &MasterIdentity,
        set: &SecretSet,
        seats: &[Seat],
    ) -> Result<(), BootError> {
        self.run.step(Step::Store).await?;
        let seat =
            Seat { name: master_name(&self.id.stack, master.number), address: self.id.private_address };
        let access = StoreAccess { authority: &set.authority, root_password: &set.store_root_password };
        self.write_member_certificate(set, &seat).await?;
        self.forget_other_cluster(&set.cluster).await?;
        self.start_member(&seat, seats, set, &access).await?;
        self.await_leader(&seat, seats, &access).await?;
        self.await_users(&seat, set, &access).await
    }

    /// The member's own certificate. A new one only when the authority is another, because a new one costs a restart.
    async fn write_member_certificate(&mut self, set: &SecretSet, seat: &Seat) -> Result<(), BootError> {
        let authority = self.host.read(settings::CA_FILE).await?;
        let of_authority = authority.as_deref() == Some(set.authority.certificate.as_bytes());
        let there = self.host.read(CERTIFICATE).await?.is_some() && self.host.read(KEY).await?.is_some();
        if of_authority && there {
            return Ok(());
        }
        let (certificate, key) = self.host.issue(&set.authority, &seat.name, seat.address)?;
        self.host.write(CERTIFICATE, certificate.as_bytes(), Mode::Node).await?;
        self.host.write(KEY, key.as_bytes(), Mode::Node).await?;
        // Last: it says that the other two are of it.
        self.host.write(settings::CA_FILE, set.authority.certificate.as_bytes(), Mode::All).await?;
        Ok(())
    }

    /// Data of a former deployment's store, on a disk that was used before, is not this one's.
    async fn forget_other_cluster(&mut self, cluster: &str) -> Result<(), BootError> {
        let of = self.host.read(DATA_OF).await?;
        let of = of.and_then(|of| String::from_utf8(of).ok());
        if let Some(of) = of.filter(|of| of != cluster) {
            self.host.say(Line::Warning(format!(
                "{} is of the former cluster {of}; it is set aside, not deleted",
                self.host.real_path(DATA)
            )));
            self.host.stop(Unit::Store).await?;
            self.host.set_aside(DATA, &of).await?;
        }
        self.host.write(DATA_OF, cluster.as_bytes(), Mode::All).await?;
        Ok(())
    }

    async fn start_member(
        &mut self,
        seat: &Seat,
        seats: &[Seat],
        set: &SecretSet,
        access: &StoreAccess<'_>,
    ) -> Result<(), BootError> {
        let awaited = Awaited {
            what: "a place in the store's cluster".to_owned(),
            patience: STORE,
            check: "`systemctl status sala-etcd` on the other masters: a majority must run".to_owned(),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        loop {
            let formed = match self.store_is_formed().await {
                Ok(formed) => formed,
                Err(error) => {
                    wait.after(&mut self.run, error).await?;
                    continue;
                }
            };
            let has_data = self.host.is_filled(DATA_LOG).await?;
            let view = self.ask_members(seat, seats, access).await;
            let members = view.as_ref().map(|(_, members)| members.as_slice());
            let action = store::decide(Situation { seat, seats, has_data, formed, members });
            let changed = match (action, &view) {
                (Action::Start { cluster, state }, _) => {
                    wait.over(&mut self.run).await?;
                    return self.start_store(seat, set, has_data, &cluster, state).await;
                }
                (Action::SetDataAside, _) => {
                    let suffix = format!("removed-{}", self.host.now());
                    self.host.stop(Unit::Store).await?;
                    self.host.set_aside(DATA, &suffix).await?;
                    continue;
                }
                (Action::Remove { id }, Some((at, _))) => {
                    self.change_members(seat, *at, access, Some(id)).await
                }
                (Action::Add, Some((at, _))) => self.change_members(seat, *at, access, None).await,
                _ => Err("no other member answers, and the cluster was formed before".to_owned()),
            };
            if let Err(reason) = changed {
                wait.again(&mut self.run, &reason).await?;
            }
        }
    }

    /// The members, as one of the others tells them that knows a leader, and where that one is.
    async fn ask_members(
        &self,
        seat: &Seat,
        seats: &[Seat],
        access: &StoreAccess<'_>,
    ) -> Option<(Ipv4Addr, Vec<Member>)> {
        for other in seats.iter().filter(|other| other.address != seat.address) {
            if let Ok(true) = self.host.has_leader(other.address, access).await
                && let Ok(members) = self.host.members(other.address, access).await
            {
                return Some((other.address, members));
            }
        }
        None
    }

    /// Takes our former member out, or puts us in: one master at a time, so that a majority always stays.
    async fn change_members(
        &mut self,
        seat: &Seat,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        remove: Option<u64>,
    ) -> Result<(), String> {
        let lease = self.lease(seat, "changes the members").await?;
        let changed = match remove {
            Some(id) => {
                self.step_done(format!("this machine is new: the store's former member {id:x} is replaced"));
                self.host.remove_member(at, access, id).await
            }
            None => self.host.add_member(at, access, &seat.peer_url()).await,
        };
        lease.release(self.api, &self.id.place).await;
        changed.map_err(|error| error.to_string())
    }

    async fn start_store(
        &mut self,
        seat: &Seat,
        set: &SecretSet,
        has_data: bool,
        cluster: &str,
        state: &str,
    ) -> Result<(), BootError> {
        let there = self.host.read(ENVIRONMENT).await?;
        let url = format!("ETCD_LISTEN_PEER_URLS={}\n", seat.peer_url());
        let fits = there.is_some_and(|text| String::from_utf8_lossy(&text).contains(&url));
        // With data, what says how the cluster begins is not read: nothing to rewrite.
        if !(has_data && fits) {
            let paths = store::Paths {
                data: self.host.real_path(DATA),
                certificate: self.host.real_path(CERTIFICATE),
                key: self.host.real_path(KEY),
                authority: self.host.real_path(settings::CA_FILE),
            };
            let text = store::environment(seat, cluster, &set.cluster, state, &paths);
            if self.host.write(ENVIRONMENT, text.as_bytes(), Mode::All).await? {
                return Ok(self.host.restart(Unit::Store).await?);
            }
        }
        Ok(self.host.start(Unit::Store).await?)
    }

    async fn await_leader(
        &mut self,
        seat: &Seat,
        seats: &[Seat],
        access: &StoreAccess<'_>,
    ) -> Result<(), BootError> {
        let awaited = Awaited {
            what: "the store to have a leader".to_owned(),
            patience: STORE,
            check: "`journalctl -u sala-etcd` here, and that masters reach each other on TCP 2379 and 2380"
                .to_owned(),
        };
        let mut wait = Wait::new(self.host.now(), awaited).every(STORE_PAUSE);
        loop {
            let state = match self.host.has_leader(seat.address, access).await {
                Ok(true) => break,
                Ok(false) => format!("{} masters are needed for a majority", seats.len() / 2 + 1),
                Err(error) => format!("the member beside this master does not answer: {error}"),
            };
            wait.again(&mut self.run, &state).await?;
        }
        wait.over(&mut self.run).await
    }

    async fn await_users(
        &mut self,
        seat: &Seat,
        set: &SecretSet,
        access: &StoreAccess<'_>,
    ) -> Result<(), BootError> {
        let awaited = Awaited {
            what: "the store to know its users".to_owned(),
            patience: STORE,
            check: "`journalctl -u sala-boot` on the other masters".to_owned(),
        };
        let mut wait = Wait::new(self.host.now(), awaited).every(STORE_PAUSE);
        loop {
            let state = match self.host.users(seat.address, access, &set.store_password).await {
                Ok(Users::OtherRoot) => return Err(BootError::StoreRoot),
                Ok(Users::Ready) if self.store_is_formed().await.unwrap_or(false) => break,
                Ok(found) => match self.mend_users(seat, set, access, found).await {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                Err(error) => error.to_string(),
            };
            wait.again(&mut self.run, &state).await?;
        }
        wait.over(&mut self.run).await
    }

    /// Makes the users, and notes that the store was formed.
    async fn mend_users(
        &mut self,
        seat: &Seat,
        set: &SecretSet,
        access: &StoreAccess<'_>,
        found: Users,
    ) -> Result<(), String> {
        let mut lease = self.lease(seat, "makes them").await?;
        let done = match found {
            Users::Absent => self.host.make_users(seat.address, access, &set.store_password).await,
            Users::OtherPassword => {
                self.host.change_password(seat.address, access, &set.store_password).await
            }
            Users::Ready | Users::OtherRoot => Ok(()),
        };
        if done.is_ok() {
            lease.done.store_formed = Some(self.id.generation.clone());
        }
        lease.release(self.api, &self.id.place).await;
        done.map_err(|error| error.to_string())
    }

    async fn store_is_formed(&self) -> Result<bool, ApiError> {
        let record = Record::peek(self.api, &self.id.place).await?;
        Ok(record.and_then(|record| record.done.store_formed).as_deref() == Some(self.id.generation.as_str()))
    }

    /// The lease, or who has it.
    async fn lease(&self, seat: &Seat, does: &str) -> Result<Lease, String> {
        let acquired = Lease::acquire(self.api, self.host, &self.id.place, &seat.name).await;
        match acquired.map_err(|error| error.to_string())? {
            Attempt::Held(lease) => Ok(lease),
            Attempt::By(record) => Err(format!("{} {does}", record.holder)),
            Attempt::Raced => Err("another master was faster".to_owned()),
        }
    }
}
