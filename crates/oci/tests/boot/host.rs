//! A machine's side of a simulation.

use std::net::Ipv4Addr;
use std::time::Duration;

use auth::Secret;
use oci::boot::{
    Authority, Host, HostError, Line, Member, Mode, StoreAccess, StoreError, Unit, UnitState, Users,
};

use crate::world::World;

pub(crate) struct SimHost {
    pub(crate) world: World,
    pub(crate) machine: usize,
}

impl Host for SimHost {
    fn now(&self) -> u64 {
        self.world.clock.now_ms() / 1000
    }

    async fn sleep(&self, duration: Duration) {
        self.world.clock.pause(duration.as_millis() as u64).await;
    }

    fn random(&self, bytes: &mut [u8]) {
        self.world.state.borrow_mut().rng.fill(bytes);
    }

    fn say(&self, line: Line) {
        self.world.state.borrow_mut().machines.get_mut(&self.machine).unwrap().lines.push(line);
    }

    fn real_path(&self, path: &str) -> String {
        path.to_owned()
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let state = self.world.state.borrow();
        Ok(state.machines[&self.machine].files.get(path).map(|(content, _)| content.clone()))
    }

    async fn write(&self, path: &str, content: &[u8], mode: Mode) -> Result<bool, HostError> {
        let mode = match mode {
            Mode::Root | Mode::Node => 0o600,
            Mode::All => 0o644,
        };
        let number = self.machine;
        self.world
            .call(number, |state, _| {
                let files = &mut state.machines.get_mut(&number).unwrap().files;
                let old = files.insert(path.to_owned(), (content.to_vec(), mode));
                Ok(old.is_none_or(|(old, _)| old != content))
            })
            .await
    }

    async fn set_aside(&self, path: &str, _: &str) -> Result<(), HostError> {
        assert_eq!(path, "/var/lib/sala/etcd");
        let number = self.machine;
        self.world
            .call(number, |state, _| {
                state.machines.get_mut(&number).unwrap().data = None;
                Ok(())
            })
            .await
    }

    async fn is_filled(&self, path: &str) -> Result<bool, HostError> {
        assert_eq!(path, "/var/lib/sala/etcd/member/wal");
        Ok(self.world.state.borrow().machines[&self.machine].data.is_some())
    }

    async fn start(&self, unit: Unit) -> Result<(), HostError> {
        let number = self.machine;
        let starts = self.world.call(number, |state, _| {
            state.run_unit(number, unit);
            state.keep_data(number);
            let address = state.machines[&number].address();
            Ok::<_, HostError>(unit == Unit::Store && state.etcd.has_leader(address).is_err())
        });
        if starts.await? {
            // One that exits is started again by systemd, and exits again.
            let _ = self.world.start_store(number);
        }
        Ok(())
    }

    async fn restart(&self, unit: Unit) -> Result<(), HostError> {
        if unit == Unit::Store {
            self.stop(unit).await?;
        }
        self.start(unit).await
    }

    async fn stop(&self, unit: Unit) -> Result<(), HostError> {
        assert_eq!(unit, Unit::Store);
        let number = self.machine;
        self.world
            .call(number, |state, _| {
                state.keep_data(number);
                let address = state.machines[&number].address();
                state.etcd.stop(address);
                Ok(())
            })
            .await
    }

    async fn state(&self, _: Unit) -> Result<UnitState, HostError> {
        let runs = self.world.node_starts(self.machine) > 0;
        Ok(if runs { UnitState::Active } else { UnitState::Inactive })
    }

    fn issue(
        &self,
        authority: &Authority,
        name: &str,
        address: Ipv4Addr,
    ) -> Result<(String, Secret), HostError> {
        self.check_authority(authority).expect("only good authorities issue");
        Ok((format!("certificate of {name} at {address}"), "its key".into()))
    }

    fn new_authority(&self, cluster: &str) -> Result<Authority, HostError> {
        let serial = self.world.state.borrow_mut().next_serial();
        Ok(Authority {
            certificate: format!("-----BEGIN CERTIFICATE-----{cluster} {serial}\n"),
            key: format!("-----BEGIN PRIVATE KEY-----{cluster} {serial}\n").into(),
        })
    }

    fn check_authority(&self, authority: &Authority) -> Result<(), String> {
        let of = |text: &str| text.rsplit("-----").next().unwrap_or_default().to_owned();
        match of(&authority.certificate) == of(authority.key.reveal()) {
            true => Ok(()),
            false => Err("the key is of another certificate".to_owned()),
        }
    }

    fn check_certificate(&self, _: &str, _: &Secret) -> Result<(), String> {
        Ok(())
    }

    async fn members(&self, at: Ipv4Addr, access: &StoreAccess<'_>) -> Result<Vec<Member>, StoreError> {
        let root = access.root_password.reveal();
        self.world
            .call(self.machine, |state, _| {
                state.etcd.require_root(root)?;
                state.etcd.members(at)
            })
            .await
    }

    async fn remove_member(&self, at: Ipv4Addr, access: &StoreAccess<'_>, id: u64) -> Result<(), StoreError> {
        let root = access.root_password.reveal();
        self.world
            .call(self.machine, |state, _| {
                state.etcd.require_root(root)?;
                state.etcd.remove(at, id)
            })
            .await
    }

    async fn add_member(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        peer_url: &str,
    ) -> Result<(), StoreError> {
        let root = access.root_password.reveal();
        self.world
            .call(self.machine, |state, _| {
                state.etcd.require_root(root)?;
                state.etcd.add(at, peer_url)
            })
            .await
    }

    async fn has_leader(&self, at: Ipv4Addr, _: &StoreAccess<'_>) -> Result<bool, StoreError> {
        self.world.call(self.machine, |state, _| state.etcd.has_leader(at)).await
    }

    async fn users(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<Users, StoreError> {
        let (root, nodes) = (access.root_password.reveal().to_owned(), password.reveal().to_owned());
        self.world
            .call(self.machine, |state, _| {
                state.etcd.require_leader(at)?;
                Ok(match &state.etcd.users {
                    None => Users::Absent,
                    Some((of_root, _)) if *of_root != root => Users::OtherRoot,
                    Some((_, of_nodes)) if *of_nodes != nodes => Users::OtherPassword,
                    Some(_) => Users::Ready,
                })
            })
            .await
    }

    async fn make_users(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<(), StoreError> {
        let users = (access.root_password.reveal().to_owned(), password.reveal().to_owned());
        self.world
            .call(self.machine, |state, _| {
                state.etcd.require_leader(at)?;
                if state.etcd.users.is_some() {
                    return Err(StoreError("etcdserver: user name is empty".to_owned()));
                }
                state.etcd.users = Some(users);
                Ok(())
            })
            .await
    }

    async fn change_password(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<(), StoreError> {
        let (root, nodes) = (access.root_password.reveal().to_owned(), password.reveal().to_owned());
        self.world
            .call(self.machine, |state, _| {
                state.etcd.require_leader(at)?;
                state.etcd.require_root(&root)?;
                state.etcd.users = Some((root, nodes));
                Ok(())
            })
            .await
    }
}
