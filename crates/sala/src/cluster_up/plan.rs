//! Which hosts the cluster on this machine has, and which address and ports each of them gets. Nothing here
//! touches the machine.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use anyhow::{Context, bail};

/// Most masters: etcd advises against more than seven members.
pub(crate) const MAX_MASTERS: usize = 7;

/// Most media nodes: each is named by one letter, and a laptop has no use for more.
pub(crate) const MAX_MEDIA: usize = 20;

/// Where nodes reach each other, over mutual TLS.
pub(crate) const INTERNAL_PORT: u16 = 7900;
/// Where etcd serves its clients.
pub(crate) const ETCD_CLIENT_PORT: u16 = 2379;
/// Where members of etcd talk to each other.
pub(crate) const ETCD_PEER_PORT: u16 = 2380;
/// The gateway of a master, plain. Behind the balancer, so PROXY protocol v2 comes first.
pub(crate) const GATEWAY_HTTP_PORT: u16 = 7880;
/// The gateway of a master, TLS. Not 443, which a plain user may not listen on.
pub(crate) const GATEWAY_HTTPS_PORT: u16 = 7443;
/// ICE over TCP of a media node.
pub(crate) const MEDIA_TCP_PORT: u16 = 7881;
/// First UDP port of media: one for each shard.
pub(crate) const MEDIA_UDP_PORTS: (u16, u16) = (50_000, 50_063);

/// What a host is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HostKind {
    /// A `sala` in the role of master, and a member of etcd beside it.
    Master,
    /// A `sala` in the role of media.
    Media,
}

/// A machine of the pretended cluster: an address of its own, and a network namespace with `--netns`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    /// `m1`, `m2`, … for masters; `a`, `b`, … for media nodes. Also the node id.
    pub(crate) name: String,
    pub(crate) kind: HostKind,
    pub(crate) address: Ipv4Addr,
}

impl Host {
    pub(crate) fn socket(&self, port: u16) -> SocketAddr {
        SocketAddrV4::new(self.address, port).into()
    }

    /// What runs on it, in the order of starting.
    pub(crate) fn programs(&self) -> &'static [Program] {
        match self.kind {
            HostKind::Master => &[Program::Etcd, Program::Sala],
            HostKind::Media => &[Program::Sala],
        }
    }
}

/// What runs on a host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Program {
    Etcd,
    Sala,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Etcd => "etcd",
            Program::Sala => "sala",
        }
    }
}

/// One process of the cluster, written `m1.etcd`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct ProcessName {
    pub(crate) host: String,
    pub(crate) program: Program,
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.host, self.program.name())
    }
}

/// What a command is aimed at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Everything on a host: `m1`, `a`.
    Host(String),
    /// One process: `m1.etcd`, `m1.sala`.
    Process(ProcessName),
    /// Every member of the store: `etcd`.
    Etcd,
    /// The member that leads now: `etcd-leader`.
    EtcdLeader,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Ok(match text.split_once('.') {
            Some((host, "etcd")) => {
                Target::Process(ProcessName { host: host.into(), program: Program::Etcd })
            }
            Some((host, "sala")) => {
                Target::Process(ProcessName { host: host.into(), program: Program::Sala })
            }
            Some((host, other)) => {
                bail!("`{other}` does not run on {host}; write {host}.sala or {host}.etcd")
            }
            None if text == "etcd" => Target::Etcd,
            None if text == "etcd-leader" => Target::EtcdLeader,
            None => Target::Host(text.to_owned()),
        })
    }
}

/// The first three numbers of every address of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subnet(pub(crate) [u8; 3]);

impl Subnet {
    /// Of the loopback network: every address of 127.0.0.0/8 is there without set-up.
    pub(crate) const LOOPBACK: Subnet = Subnet([127, 7, 0]);
    /// Of the bridge between network namespaces.
    pub(crate) const BRIDGE: Subnet = Subnet([10, 77, 0]);

    pub(crate) fn host(self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.0;
        Ipv4Addr::new(a, b, c, last)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a}.{b}.{c}")
    }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let address: Ipv4Addr = format!("{text}.0")
            .parse()
            .ok()
            .with_context(|| format!("`{text}` is no network; write three numbers, such as 127.7.0"))?;
        let [a, b, c, _] = address.octets();
        Ok(Subnet([a, b, c]))
    }
}

/// The cluster as it shall be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Cluster id, for the store.
    pub(crate) id: String,
    pub(crate) subnet: Subnet,
    /// Whether every host is a network namespace.
    pub(crate) namespaces: bool,
    /// Masters first.
    pub(crate) hosts: Vec<Host>,
    /// Where the balancer listens for plain HTTP and WebSocket.
    pub(crate) front_http: SocketAddr,
    /// Where the balancer listens for TLS.
    pub(crate) front_https: SocketAddr,
    /// Who is told of what happens in rooms.
    pub(crate) webhooks: Vec<String>,
}

/// Last number of the first master's address.
const FIRST_MASTER: u8 = 11;
/// Last number of the first media node's address.
const FIRST_MEDIA: u8 = 31;

impl Plan {
    /// A cluster of so many nodes.
    pub(crate) fn new(
        masters: usize,
        media: usize,
        namespaces: bool,
        subnet: Option<Subnet>,
    ) -> anyhow::Result<Plan> {
        if !(1..=MAX_MASTERS).contains(&masters) {
            bail!("--masters {masters}: choose 1 to {MAX_MASTERS}; four survive the loss of any one");
        }
        if media > MAX_MEDIA {
            bail!("--media {media}: choose at most {MAX_MEDIA}");
        }
        let subnet = subnet.unwrap_or(if namespaces { Subnet::BRIDGE } else { Subnet::LOOPBACK });
        if !namespaces && subnet.0[0] != 127 {
            bail!("--subnet {subnet}: without --netns the nodes live on the loopback network, 127.x.y");
        }
        let mut plan = Plan {
            id: "demo".into(),
            subnet,
            namespaces,
            hosts: Vec::new(),
            front_http: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7880).into(),
            front_https: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7443).into(),
            webhooks: Vec::new(),
        };
        for n in 0..masters {
            let address = subnet.host(FIRST_MASTER + n as u8);
            plan.hosts.push(Host { name: format!("m{}", n + 1), kind: HostKind::Master, address });
        }
        for _ in 0..media {
            plan.add_media()?;
        }
        Ok(plan)
    }

    /// One more media node. Names are not used twice.
    pub(crate) fn add_media(&mut self) -> anyhow::Result<&Host> {
        let n = self.media().count();
        if n == MAX_MEDIA {
            bail!("there are {MAX_MEDIA} media nodes, and more are not possible; restart one that has ended");
        }
        let name = char::from(b'a' + n as u8).to_string();
        let address = self.subnet.host(FIRST_MEDIA + n as u8);
        self.hosts.push(Host { name, kind: HostKind::Media, address });
        Ok(&self.hosts[self.hosts.len() - 1])
    }

    pub(crate) fn masters(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.kind == HostKind::Master)
    }

    pub(crate) fn media(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.kind == HostKind::Media)
    }

    /// The host of that name.
    pub(crate) fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.hosts.iter().find(|host| host.name == name).with_context(|| {
            let names = self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
            format!("there is no node `{name}`; there are {names}")
        })
    }

    /// The processes that a target means.
    ///
    /// # Errors
    /// When it names nothing, or no leader of the store is known.
    pub(crate) fn resolve(&self, target: &Target, leader: Option<&str>) -> anyhow::Result<Vec<ProcessName>> {
        let on = |host: &Host| {
            let name = host.name.clone();
            host.programs().iter().map(move |program| ProcessName { host: name.clone(), program: *program })
        };
        Ok(match target {
            Target::Host(name) => on(self.host(name)?).collect(),
            Target::Process(name) => {
                let host = self.host(&name.host)?;
                if !host.programs().contains(&name.program) {
                    bail!("no {} runs on {}, which is a media node", name.program.name(), host.name);
                }
                vec![name.clone()]
            }
            Target::Etcd => {
                self.masters().flat_map(on).filter(|name| name.program == Program::Etcd).collect()
            }
            Target::EtcdLeader => {
                let host = leader.context("the store has no leader that is known; try again in a second")?;
                vec![ProcessName { host: host.to_owned(), program: Program::Etcd }]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_an_address_and_a_name_of_its_own() {
        let plan = Plan::new(MAX_MASTERS, MAX_MEDIA, false, None).unwrap();
        let mut addresses: Vec<_> = plan.hosts.iter().map(|host| host.address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), MAX_MASTERS + MAX_MEDIA);
        assert_eq!(plan.host("m1").unwrap().address, Ipv4Addr::new(127, 7, 0, 11));
        assert_eq!(plan.host("a").unwrap().address, Ipv4Addr::new(127, 7, 0, 31));
        assert!(plan.host("m9").unwrap_err().to_string().contains("there are m1, m2"));
    }

    #[test]
    fn a_host_means_everything_on_it() {
        let plan = Plan::new(2, 1, false, None).unwrap();
        let resolve = |text: &str, leader| -> anyhow::Result<Vec<String>> {
            let names = plan.resolve(&text.parse()?, leader)?;
            Ok(names.iter().map(ToString::to_string).collect())
        };
        assert_eq!(resolve("m1", None).unwrap(), ["m1.etcd", "m1.sala"]);
        assert_eq!(resolve("a", None).unwrap(), ["a.sala"]);
        assert_eq!(resolve("m2.etcd", None).unwrap(), ["m2.etcd"]);
        assert_eq!(resolve("etcd", None).unwrap(), ["m1.etcd", "m2.etcd"]);
        assert_eq!(resolve("etcd-leader", Some("m2")).unwrap(), ["m2.etcd"]);
        assert!(resolve("etcd-leader", None).is_err());
        assert!(resolve("a.etcd", None).is_err());
        assert!(resolve("m1.redis", None).is_err());
    }
}
