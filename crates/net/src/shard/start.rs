//! From a configuration to running threads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};
use rtc::transport::DtlsIdentity;
use rtc::{Path, Proto};
use sfu::{EngineConfig, RoomEvent, RoomName};
use tokio::sync::broadcast;

use super::core::Core;
use super::egress::ShardEgress;
use super::relay::Relays;
use super::{FIRST_CONNECTION, FIRST_RELAY, MAX_SHARDS, Shard, WAKER, ufrag_prefix};
use crate::config::{MediaAddress, NetConfig, NetError};
use crate::directory::Directory;
use crate::front::MAX_EVENTS;
use crate::mailbox::{Mailbox, mailbox};
use crate::tcp::{Acceptor, Connections, Listener};
use crate::udp::{UdpEgress, UdpPort};

/// All there is to a running set of shards.
pub(crate) struct Started {
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) candidates: Vec<Path>,
    pub(crate) events: broadcast::Sender<(RoomName, RoomEvent)>,
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) acceptor: Option<Acceptor>,
}

pub(crate) fn start_all(config: NetConfig) -> Result<Started, NetError> {
    let count = shard_count(&config)?;
    let identity = DtlsIdentity::generate()?;
    let directory = Arc::new(Directory::new(count));
    let (events, _) = broadcast::channel(MAX_EVENTS);
    let listeners = open_listeners(&config)?;
    let tcp: Vec<_> = listeners.iter().map(|listener| candidate(Proto::Tcp, listener.advertised())).collect();

    let mut candidates = Vec::new();
    let mut mailboxes = Vec::with_capacity(count);
    let mut shards = Vec::with_capacity(count);
    for index in 0..count {
        let port = match *config.udp_ports.start() {
            0 => 0,
            first => first + index as u16,
        };
        let ports = open_ports(&config.addresses, port)?;
        let udp = ports.iter().flat_map(|port| port.advertised()).copied();
        let mut udp: Vec<_> = udp.map(|address| candidate(Proto::Udp, address)).collect();
        let preference = |path: &Path| config.addresses.iter().position(|a| a.advertise == path.local.ip());
        udp.sort_by_key(preference);
        candidates.extend_from_slice(&udp);
        udp.extend_from_slice(&tcp);

        let engine =
            EngineConfig { candidates: udp, ufrag_prefix: ufrag_prefix(index), ..config.engine.clone() };
        let poll = Poll::new().map_err(NetError::Poll)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(NetError::Poll)?;
        for (number, port) in ports.iter().enumerate() {
            let fd = std::os::fd::AsRawFd::as_raw_fd(port);
            poll.registry()
                .register(&mut SourceFd(&fd), Token(number), Interest::READABLE)
                .map_err(NetError::Poll)?;
        }
        let connections =
            Connections::new(poll.registry().try_clone().map_err(NetError::Poll)?, FIRST_CONNECTION);
        let relays = Relays::new(poll.registry().try_clone().map_err(NetError::Poll)?, FIRST_RELAY);
        let (mailbox, inbox) = mailbox(waker);
        mailboxes.push(Arc::new(mailbox));
        let egress = ShardEgress::new(UdpEgress::new(ports), connections);
        let core = Core::new(
            index,
            Arc::new(engine),
            identity.clone(),
            directory.clone(),
            config.fence.clone(),
            events.clone(),
            egress,
            relays,
        );
        shards.push(Shard::new(poll, inbox, core));
    }
    candidates.extend_from_slice(&tcp);

    let mut threads = Vec::with_capacity(count);
    for (index, shard) in shards.into_iter().enumerate() {
        let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || shard.run());
        threads.push(thread.map_err(NetError::Poll)?);
    }
    let acceptor = match listeners.is_empty() {
        true => None,
        false => Some(Acceptor::start(listeners, mailboxes.clone()).map_err(NetError::Poll)?),
    };
    Ok(Started { mailboxes, directory, candidates, events, threads, acceptor })
}

fn shard_count(config: &NetConfig) -> Result<usize, NetError> {
    if config.addresses.is_empty() {
        return Err(NetError::NoAddress);
    }
    let ports = match *config.udp_ports.start() {
        0 => MAX_SHARDS,
        _ => config.udp_ports.len(),
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let count = config.shards.unwrap_or(cores.min(ports).min(MAX_SHARDS));
    match count {
        0 => Err(NetError::ShardCount(0)),
        count if count > MAX_SHARDS => Err(NetError::ShardCount(count)),
        shards if shards > ports => Err(NetError::TooFewPorts { shards, ports }),
        count => Ok(count),
    }
}

/// The distinct addresses to bind to, each with what it is known as.
fn bindings(addresses: &[MediaAddress]) -> Vec<(IpAddr, Vec<IpAddr>)> {
    let mut bindings: Vec<(IpAddr, Vec<IpAddr>)> = Vec::new();
    for address in addresses {
        match bindings.iter_mut().find(|(bind, _)| *bind == address.bind) {
            Some((_, known_as)) => known_as.push(address.advertise),
            None => bindings.push((address.bind, vec![address.advertise])),
        }
    }
    bindings
}

fn open_ports(addresses: &[MediaAddress], port: u16) -> Result<Vec<UdpPort>, NetError> {
    let open = |(bind, known_as): (IpAddr, Vec<IpAddr>)| {
        let address = SocketAddr::new(bind, port);
        UdpPort::bind(address, &known_as).map_err(|source| NetError::Udp { address, source })
    };
    bindings(addresses).into_iter().map(open).collect()
}

fn open_listeners(config: &NetConfig) -> Result<Vec<Listener>, NetError> {
    let Some(port) = config.tcp_port else { return Ok(Vec::new()) };
    let open =
        |(bind, known_as): (IpAddr, Vec<IpAddr>)| Listener::bind(SocketAddr::new(bind, port), known_as[0]);
    bindings(&config.addresses).into_iter().map(open).collect()
}

/// A path that says only where it begins.
fn candidate(proto: Proto, local: SocketAddr) -> Path {
    let nowhere = match local {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => IpAddr::from([0; 16]),
    };
    Path { proto, local, remote: SocketAddr::new(nowhere, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_one_address_share_a_socket() {
        let [private, public]: [IpAddr; 2] = [[10, 0, 0, 2].into(), [203, 0, 113, 9].into()];
        let addresses = [MediaAddress { bind: private, advertise: public }, MediaAddress::from(private)];
        assert_eq!(bindings(&addresses), vec![(private, vec![public, private])]);
    }
}
