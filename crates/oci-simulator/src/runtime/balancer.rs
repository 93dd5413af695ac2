//! A network load balancer's sockets: layer 4, health checks, PROXY protocol v2.
//!
//! As the real one, it picks a healthy backend by the connection's addresses and does not try another when that one
//! refuses; and a backend that goes bad keeps the connections that it has.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Shared, proxy_protocol};
use crate::config::{HealthCheck, Listener};

/// Connections through one listener at a time.
const MAX_CONNECTIONS: usize = 20_000;
/// A backend that takes longer to accept is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens its listeners and begins to check.
pub(super) fn open(shared: &Arc<Shared>, id: String) {
    let config = match shared.cloud().0.balancers.all.get(&id) {
        Some(balancer) => balancer.config.clone(),
        None => return,
    };
    for listener in config.listeners {
        let address = SocketAddr::new(config.address, listener.port);
        let (shared, id) = (shared.clone(), id.clone());
        tokio::spawn(async move {
            match TcpListener::bind(address).await {
                Ok(socket) => serve(shared, id, listener, socket).await,
                Err(error) => {
                    tracing::error!(%address, %error, "a load balancer's listener cannot be opened")
                }
            }
        });
    }
    tokio::spawn(check_all(shared.clone(), id, config.health_check, config.backends));
}

async fn serve(shared: Arc<Shared>, id: String, listener: Listener, socket: TcpListener) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((client, from)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(backend) = pick(&shared, &id, from) else { continue };
        let backend = SocketAddr::new(backend.ip(), listener.backend_port.unwrap_or(listener.port));
        let is_ppv2 = listener.is_ppv2_enabled;
        tokio::spawn(async move {
            carry(client, backend, is_ppv2).await;
            drop(permit);
        });
    }
}

/// The backend for a client's address.
fn pick(shared: &Shared, id: &str, from: SocketAddr) -> Option<SocketAddr> {
    let (cloud, _) = shared.cloud();
    let balancer = cloud.balancers.all.get(id)?;
    let mut hasher = DefaultHasher::new();
    from.hash(&mut hasher);
    let healthy = &balancer.healthy;
    let name = healthy.get((hasher.finish() % healthy.len().max(1) as u64) as usize)?;
    let instance = cloud.compute.find(name)?;
    Some(SocketAddr::new(instance.private_ip.into(), 0))
}

async fn carry(mut client: TcpStream, backend: SocketAddr, is_ppv2: bool) {
    let (Ok(from), Ok(to)) = (client.peer_addr(), client.local_addr()) else { return };
    let Ok(Ok(mut server)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(backend)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if is_ppv2 && server.write_all(&proxy_protocol::header(from, to)).await.is_err() {
        return;
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

async fn check_all(shared: Arc<Shared>, id: String, check: HealthCheck, backends: Vec<String>) {
    let mut checks = JoinSet::new();
    for name in backends {
        checks.spawn(check_one(shared.clone(), id.clone(), check.clone(), name));
    }
    checks.join_all().await;
}

/// Checks a backend for ever. It changes side after so many results in a row.
async fn check_one(shared: Arc<Shared>, id: String, check: HealthCheck, name: String) {
    let mut ticks = interval(Duration::from_millis(check.interval_millis.max(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let patience = Duration::from_millis(check.timeout_millis.max(10));
    let (mut is_healthy, mut against) = (false, 0);
    loop {
        ticks.tick().await;
        let address = {
            let (cloud, _) = shared.cloud();
            cloud.compute.find(&name).map(|instance| SocketAddr::new(instance.private_ip.into(), check.port))
        };
        let is_well = match address {
            Some(address) => timeout(patience, probe(&check, address)).await.unwrap_or(false),
            None => false,
        };
        if is_well == is_healthy {
            against = 0;
            continue;
        }
        against += 1;
        if against < check.retries.max(1) {
            continue;
        }
        (is_healthy, against) = (is_well, 0);
        let (mut cloud, _) = shared.cloud();
        let Some(balancer) = cloud.balancers.all.get_mut(&id) else { return };
        balancer.healthy.retain(|other| *other != name);
        if is_healthy {
            balancer.healthy.push(name.clone());
            balancer.healthy.sort();
        }
        tracing::info!(balancer = balancer.config.display_name, backend = name, is_healthy, "health changed");
    }
}

async fn probe(check: &HealthCheck, address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    if check.protocol != "HTTP" {
        return true;
    }
    let request = format!("GET {} HTTP/1.0\r\nHost: {address}\r\n\r\n", check.url_path);
    // `HTTP/1.1 200`
    let mut status = [0; 12];
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_exact(&mut status).await.is_ok()
        && status.ends_with(b" 200")
}
