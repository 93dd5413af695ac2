//! A machine as boot sees it.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::Secret;

use super::etcd::Etcd;
use super::{Machine, authority, files};
use crate::boot::{
    Authority, Host, HostError, Line, Member, Mode, StoreAccess, StoreError, Unit, UnitState, Users,
};

impl Machine {
    pub(super) fn failed(&self, doing: &str, path: &str, error: &io::Error) -> HostError {
        HostError {
            doing: format!("{doing} {}", self.path(path).display()),
            reason: error.to_string(),
            remedy: "check the directory, its owner and the free space (`df -h`); boot runs as root"
                .to_owned(),
        }
    }
}

impl Host for Machine {
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn random(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes)
            .expect("the operating system's random generator works: nothing here is safe without");
    }

    fn say(&self, line: Line) {
        match line {
            Line::Step(text) => tracing::info!("{text}"),
            Line::Wait(text) => tracing::info!("{text}"),
            Line::Warning(text) => tracing::warn!("{text}"),
        }
    }

    fn real_path(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        files::read(&self.path(path)).map_err(|error| self.failed("reading", path, &error))
    }

    async fn write(&self, path: &str, content: &[u8], mode: Mode) -> Result<bool, HostError> {
        let (mode, owner) = match mode {
            Mode::Root => (0o600, None),
            Mode::Node => (0o600, self.owner),
            Mode::All => (0o644, None),
        };
        files::write(&self.path(path), content, mode, owner)
            .map_err(|error| self.failed("writing", path, &error))
    }

    async fn set_aside(&self, path: &str, suffix: &str) -> Result<(), HostError> {
        files::set_aside(&self.path(path), suffix).map_err(|error| self.failed("moving away", path, &error))
    }

    async fn is_filled(&self, path: &str) -> Result<bool, HostError> {
        files::is_filled(&self.path(path)).map_err(|error| self.failed("looking into", path, &error))
    }

    async fn start(&self, unit: Unit) -> Result<(), HostError> {
        self.systemctl.run(&["enable", unit.name()]).await?;
        self.systemctl.run(&["start", "--no-block", unit.name()]).await
    }

    async fn restart(&self, unit: Unit) -> Result<(), HostError> {
        self.systemctl.run(&["enable", unit.name()]).await?;
        self.systemctl.run(&["restart", "--no-block", unit.name()]).await
    }

    async fn stop(&self, unit: Unit) -> Result<(), HostError> {
        self.systemctl.run(&["stop", unit.name()]).await
    }

    async fn state(&self, unit: Unit) -> Result<UnitState, HostError> {
        self.systemctl.state(unit.name()).await
    }

    fn issue(
        &self,
        authority: &Authority,
        name: &str,
        address: Ipv4Addr,
    ) -> Result<(String, Secret), HostError> {
        authority::issue(authority, name, address).map_err(certificates)
    }

    fn new_authority(&self, cluster: &str) -> Result<Authority, HostError> {
        authority::generate(cluster).map_err(certificates)
    }

    fn check_authority(&self, authority: &Authority) -> Result<(), String> {
        authority::load(authority).map(drop).map_err(|error| error.to_string())
    }

    fn check_certificate(&self, chain: &str, key: &Secret) -> Result<(), String> {
        authority::check_public(chain, key)
    }

    async fn members(&self, at: Ipv4Addr, access: &StoreAccess<'_>) -> Result<Vec<Member>, StoreError> {
        Etcd::new(at, access)?.members().await
    }

    async fn remove_member(&self, at: Ipv4Addr, access: &StoreAccess<'_>, id: u64) -> Result<(), StoreError> {
        Etcd::new(at, access)?.remove(id).await
    }

    async fn add_member(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        peer_url: &str,
    ) -> Result<(), StoreError> {
        Etcd::new(at, access)?.add(peer_url).await
    }

    async fn has_leader(&self, at: Ipv4Addr, access: &StoreAccess<'_>) -> Result<bool, StoreError> {
        Etcd::new(at, access)?.has_leader().await
    }

    async fn users(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<Users, StoreError> {
        Etcd::new(at, access)?.users(password).await
    }

    async fn make_users(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<(), StoreError> {
        Etcd::new(at, access)?.make_users(password).await
    }

    async fn change_password(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<(), StoreError> {
        Etcd::new(at, access)?.change_password(password).await
    }
}

fn certificates(error: cluster::security::SecurityError) -> HostError {
    HostError {
        doing: "making certificates".to_owned(),
        reason: error.to_string(),
        remedy: "check the Vault's SALA_CLUSTER_CA_CERTIFICATE and SALA_CLUSTER_CA_KEY".to_owned(),
    }
}
