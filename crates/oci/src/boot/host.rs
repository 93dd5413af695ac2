//! What boot asks of the machine it runs on: time, randomness, files, units, and the store's member beside it.
//! [`crate::machine::Machine`] carries it out; a simulation models it.

use std::net::Ipv4Addr;
use std::time::Duration;

use auth::Secret;

/// The machine.
// Not for others to implement across threads: boot is one task.
#[allow(async_fn_in_trait)]
pub trait Host {
    /// Seconds since 1970.
    fn now(&self) -> u64;
    async fn sleep(&self, duration: Duration);
    fn random(&self, bytes: &mut [u8]);
    /// One line for the operator.
    fn say(&self, line: Line);

    /// Where a path of the product is on this machine: under its root directory.
    fn real_path(&self, path: &str) -> String;
    /// A file's content; `None`: it is not there.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError>;
    /// Writes a file so that a crash leaves the old or the new one. Returns whether it changed.
    async fn write(&self, path: &str, content: &[u8], mode: Mode) -> Result<bool, HostError>;
    /// Moves a directory out of the way, to `<path>.<suffix>`. None there is no error.
    async fn set_aside(&self, path: &str, suffix: &str) -> Result<(), HostError>;
    /// Whether a directory is there with something in it.
    async fn is_filled(&self, path: &str) -> Result<bool, HostError>;

    /// Starts a unit at each boot of the machine, and now; does not wait for it.
    async fn start(&self, unit: Unit) -> Result<(), HostError>;
    /// Likewise, ending it first if it runs.
    async fn restart(&self, unit: Unit) -> Result<(), HostError>;
    async fn stop(&self, unit: Unit) -> Result<(), HostError>;
    async fn state(&self, unit: Unit) -> Result<UnitState, HostError>;

    /// Certificate and key, as PEM, for a member of the store, issued by the cluster's authority.
    fn issue(
        &self,
        authority: &Authority,
        name: &str,
        address: Ipv4Addr,
    ) -> Result<(String, Secret), HostError>;
    /// A new authority for a cluster: certificate and key, as PEM.
    fn new_authority(&self, cluster: &str) -> Result<Authority, HostError>;
    /// Whether the key is the certificate's, and both are an authority's.
    fn check_authority(&self, authority: &Authority) -> Result<(), String>;
    /// Whether a chain and key can be shown to clients.
    fn check_certificate(&self, chain: &str, key: &Secret) -> Result<(), String>;

    /// What the store's member at an address says. With a root password it is asked as root.
    async fn members(&self, at: Ipv4Addr, access: &StoreAccess<'_>) -> Result<Vec<Member>, StoreError>;
    async fn remove_member(&self, at: Ipv4Addr, access: &StoreAccess<'_>, id: u64) -> Result<(), StoreError>;
    async fn add_member(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        peer_url: &str,
    ) -> Result<(), StoreError>;
    /// Whether it knows a leader.
    async fn has_leader(&self, at: Ipv4Addr, access: &StoreAccess<'_>) -> Result<bool, StoreError>;
    /// Whether users are asked for, and these passwords are theirs.
    async fn users(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<Users, StoreError>;
    /// Makes the users with these passwords and switches authentication on; also when a part of that was done.
    async fn make_users(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<(), StoreError>;
    /// Gives the user of the nodes another password.
    async fn change_password(
        &self,
        at: Ipv4Addr,
        access: &StoreAccess<'_>,
        password: &Secret,
    ) -> Result<(), StoreError>;
}

/// How loud a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Something is done.
    Step(String),
    /// Something is awaited.
    Wait(String),
    Warning(String),
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Root alone: 0600.
    Root,
    /// The user that nodes run as, alone: 0600.
    Node,
    /// Everybody: 0644.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    Store,
    Node,
    DrainWatch,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Store => "sala-etcd.service",
            Unit::Node => "sala.service",
            Unit::DrainWatch => "sala-drain-watch.service",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    Active,
    Starting,
    Inactive,
    Failed,
}

/// The cluster's certificate authority, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub certificate: String,
    pub key: Secret,
}

/// How the store's members are talked to.
#[derive(Clone, Copy, Debug)]
pub struct StoreAccess<'a> {
    pub authority: &'a Authority,
    pub root_password: &'a Secret,
}

/// One member of the store's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    /// Empty: it was added and has not started yet.
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Empty: it has not started yet.
    pub client_urls: Vec<String>,
}

impl Member {
    pub fn has_started(&self) -> bool {
        !self.client_urls.is_empty()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Anybody with a certificate may do anything.
    Absent,
    Ready,
    /// The nodes' password is another one.
    OtherPassword,
    /// The root password is another one.
    OtherRoot,
}

/// Why the machine did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {reason}; {remedy}")]
pub struct HostError {
    pub doing: String,
    pub reason: String,
    pub remedy: String,
}

/// Why the store did not do something. It may later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);
