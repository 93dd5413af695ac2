//! `sala serve` as a node of a cluster: what its roles need, wired together.
//!
//! Every node: certificates, links to the masters, the internal port, the control plane. A master: the gateway.
//! A media node ([`media`]): shards and the signalling endpoint, behind the internal port. In Oracle Cloud a master
//! also takes part in [`scaling`].

mod alive;
pub(crate) mod beside;
mod gateway;
mod internal;
mod media;
mod scaling;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use auth::Secret;
use cluster::control::{MemberConfig, Selector};
use cluster::gateway::Gateway;
use cluster::link::{InternalClient, Links, serve};
use cluster::runtime::{LinkTransport, Runtime};
use cluster::security::{Ca, NodeTls, PemSource};
use cluster::{Load, NodeId, NodeRecord, NodeState};
use net::{Fence, Shards};
use store::{Credentials, EtcdConfig, EtcdStore, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::alive::Alive;
use crate::config::{Config, cluster as settings};
use crate::log;
use crate::notify::Notify;
use crate::server::{Secrets, Stop, wait_for_stop};

/// Calls to the store. Nothing that a client waits for depends on one that is slower.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// How often a renewed certificate is looked for.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(60);

/// Runs a node until SIGTERM or SIGINT.
#[tokio::main]
pub(crate) async fn run(config: Config, settings: settings::Cluster, secrets: Secrets) -> anyhow::Result<()> {
    log::init(&config.logging)?;
    let node = node_id(&settings)?;
    let address = settings.internal_address;
    let local = Some(address.ip());
    let tls =
        NodeTls::new(authority(&settings)?, &settings.id, &node, vec![address.ip()], SystemTime::now())?;
    tokio::spawn(tls.clone().keep_fresh());
    let store = EtcdStore::new(etcd(&settings, &tls)?)?;
    tokio::spawn(renew_store_certificate(store.clone(), tls.clone()));
    let store: Arc<dyn Store> = Arc::new(store);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on cluster.internal_address {address}; is the address of this machine and the port free?")
    })?;
    let (links, link_events) = Links::new(tls.clone(), local)?;
    let client = InternalClient::new(tls.clone(), local)?;
    let member = MemberConfig {
        record: record(&config, &settings, &node)?,
        masters: settings.masters.len(),
        selector: selector(&settings.node_selector)?,
        seed: seed(),
    };
    let load = Arc::new(Mutex::new(Load::default()));
    let source = load.clone();
    let source = move || *source.lock().unwrap_or_else(PoisonError::into_inner);
    let transport = Arc::new(LinkTransport::new(links.clone(), local));
    let mut runtime =
        Runtime::start(&settings.id, member, store.clone(), transport.clone(), Box::new(source)).await?;
    runtime.follow_links(transport, link_events);

    let (stop, stopped) = watch::channel(false);
    let mut router = axum::Router::new();
    if let Some(master) = runtime.master() {
        router = router.merge(internal::routes(master, settings.id.clone()));
    }
    let mut media = None;
    let mut alive = Alive { id: node.clone(), address, client: client.clone(), shards: None };
    if let Some(here) = runtime.node() {
        let gate = here.gate();
        let fence = Arc::new(Fence::while_allowed(move |now| gate.may_serve(now)));
        let shards = Shards::start(crate::server::net_config(&config, fence, true)?)?;
        let (id, secrets, store, client) = (&node, &secrets, &store, &client);
        let parts =
            media::Parts { config: &config, secrets, shards: &shards, id, node: &here, store, client };
        let (started, routes) = media::start(parts)?;
        router = router.merge(routes);
        media = Some(started);
        alive.shards = Some(shards.clone());
        tokio::spawn(measure(load, shards));
    }
    let internal = tokio::spawn({
        let (links, stopped) = (links.clone(), until(stopped.clone()));
        async move { serve(listener, tls, &links, router, stopped).await }
    });
    let gateway = match runtime.master() {
        Some(master) => {
            let director = Arc::new(master);
            let gateway = gateway::config(&config, &settings.gateway, &node, &store).await?;
            let gateway = Gateway::bind(gateway, secrets.keys.clone(), director, client, local).await?;
            tracing::info!(https = ?gateway.https_addresses(), http = ?gateway.http_addresses(), "gateway runs");
            Some(tokio::spawn(gateway.run(until(stopped))))
        }
        None => None,
    };
    let mut beside = JoinSet::new();
    if let Some(master) = runtime.master().filter(|_| config.oci.scaling) {
        beside.spawn(scaling::run(master, node.clone(), settings.id.clone(), config.oci.pace()));
    }
    let told_to_stop = wait_for_stop();
    let notify = Arc::new(Notify::from_env());
    beside.spawn({
        let alive = Arc::new(alive);
        notify.clone().watch(move || alive.clone().check())
    });
    notify.ready();
    tracing::info!(%node, internal = %address, roles = ?settings.roles, "node runs");

    let stopped_by = tokio::select! {
        stop = told_to_stop => stop,
        reason = runtime.failed() => {
            stop.send_replace(true);
            bail!(reason);
        }
    };
    notify.stopping();
    if let Some(media) = media.as_ref().filter(|_| stopped_by == Stop::Orderly) {
        media.drain(settings.drain_deadline).await;
    }
    tracing::info!("stopping");
    beside.shutdown().await;
    runtime.leave().await;
    stop.send_replace(true);
    for task in gateway.into_iter() {
        task.await.context("the gateway's task failed")??;
    }
    internal.await.context("the internal port's task failed")??;
    if let Some(media) = media {
        media.stop().await;
    }
    Ok(())
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender's end is the end, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Shows etcd the node's certificate of the moment: the first one lives a day.
async fn renew_store_certificate(store: EtcdStore, tls: Arc<NodeTls>) {
    let mut shown = tls.leaf().not_after;
    let mut tick = tokio::time::interval(CERTIFICATE_CHECK);
    loop {
        tick.tick().await;
        let leaf = tls.leaf();
        if leaf.not_after != shown {
            shown = leaf.not_after;
            let certificate = leaf.certificate_pem.as_bytes().to_vec();
            if let Err(error) =
                store.set_client_certificate(certificate, leaf.key_pem.reveal().as_bytes().to_vec())
            {
                tracing::warn!(%error, "the store keeps the former certificate of this node");
            }
        }
    }
}

/// Keeps the figures of the engine's load fresh.
async fn measure(load: Arc<Mutex<Load>>, shards: Shards) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut before = net::ShardStats::default();
    loop {
        tick.tick().await;
        let stats = shards.stats().await;
        let per_second = |now: u64, before: u64| now.saturating_sub(before);
        *load.lock().unwrap_or_else(PoisonError::into_inner) = Load {
            rooms: stats.rooms as u32,
            clients: stats.sessions as u32,
            tracks_in: stats.tracks_in as u32,
            tracks_out: stats.tracks_out as u32,
            packets_per_s: per_second(
                stats.packets_in + stats.packets_out,
                before.packets_in + before.packets_out,
            ) as u32,
            bytes_per_s: per_second(stats.bytes_in + stats.bytes_out, before.bytes_in + before.bytes_out),
            ..Load::default()
        };
        before = stats;
    }
}

/// The cluster's certificate authority.
pub(crate) fn authority(settings: &settings::Cluster) -> anyhow::Result<Ca> {
    Ok(Ca::load(
        &pem(&settings.ca_certificate_file, "SALA_CLUSTER_CA_CERTIFICATE", "ca_certificate_file")?,
        &pem(&settings.ca_key_file, "SALA_CLUSTER_CA_KEY", "ca_key_file")?,
    )?)
}

/// What this node is called.
pub(crate) fn node_id(settings: &settings::Cluster) -> anyhow::Result<NodeId> {
    match &settings.node_id {
        Some(id) => Ok(NodeId(id.clone())),
        None => {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            match name.trim() {
                "" => bail!("this host has no name; set cluster.node_id to one that no other node has"),
                name => Ok(NodeId(name.to_owned())),
            }
        }
    }
}

fn pem(file: &Option<std::path::PathBuf>, variable: &str, key: &str) -> anyhow::Result<PemSource> {
    if let Ok(text) = std::env::var(variable) {
        return Ok(PemSource::Environment { variable: variable.to_owned(), pem: text.into() });
    }
    match file {
        Some(path) => Ok(PemSource::File(path.clone())),
        None => bail!(
            "cluster.{key} is missing; make a certificate authority with `sala cluster ca --dir DIR`, copy it to all \
             nodes, and name its file there or put it in ${variable}"
        ),
    }
}

/// How the store is reached.
pub(crate) fn etcd(settings: &settings::Cluster, tls: &NodeTls) -> anyhow::Result<EtcdConfig> {
    let store = &settings.store;
    if store.endpoints.is_empty() {
        bail!("cluster.store.endpoints is empty; name the members of etcd, as https://10.0.0.1:2379");
    }
    let leaf = tls.leaf();
    let mut config = EtcdConfig::new(store.endpoints.clone());
    config.deadline = STORE_DEADLINE;
    config.ca_certificate_pem = Some(tls.ca().certificate_pem().as_bytes().to_vec());
    config.client_certificate_pem =
        Some((leaf.certificate_pem.as_bytes().to_vec(), leaf.key_pem.reveal().as_bytes().to_vec()));
    if !store.username.is_empty() {
        config.credentials = Some(Credentials {
            username: store.username.clone(),
            password: password(store)?.reveal().to_owned(),
        });
    }
    Ok(config)
}

fn password(store: &settings::Store) -> anyhow::Result<Secret> {
    if let Ok(password) = std::env::var("SALA_STORE_PASSWORD") {
        return Ok(password.into());
    }
    let path = store.password_file.as_ref().context(
        "cluster.store.username needs a password; name a file in cluster.store.password_file or set SALA_STORE_PASSWORD",
    )?;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read cluster.store.password_file {}", path.display()))?;
    Ok(text.trim().to_owned().into())
}

fn record(config: &Config, settings: &settings::Cluster, node: &NodeId) -> anyhow::Result<NodeRecord> {
    if settings.roles.is_empty() {
        bail!("cluster.roles is empty; write [master], [media] or both");
    }
    let roles = settings.roles.iter().map(|role| match role {
        settings::Role::Master => cluster::Role::Master,
        settings::Role::Media => cluster::Role::Media,
    });
    Ok(NodeRecord {
        id: node.clone(),
        incarnation: seed() | 1,
        roles: roles.collect(),
        internal_address: settings.internal_address,
        region: config.region.clone(),
        state: NodeState::Serving,
        load: Load::default(),
        cpus: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
        registered: 0,
        replaces: None,
        labels: instance(settings).into_iter().collect(),
    })
}

/// The label that names this machine at the cloud.
fn instance(settings: &settings::Cluster) -> Option<(String, String)> {
    settings.instance_id.clone().map(|id| (cluster::OCI_INSTANCE.to_owned(), id))
}

/// Different for each start: from the system's random source, by way of a hash map's keys.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

fn selector(settings: &settings::NodeSelector) -> anyhow::Result<Selector> {
    let value = serde_json::json!({
        "kind": settings.kind, "sort_by": settings.sort_by, "algorithm": settings.algorithm,
        "cpu_load_limit": settings.cpu_load_limit, "sysload_limit": settings.sysload_limit,
        "regions": settings.regions,
    });
    serde_json::from_value(value).context("cluster.node_selector")
}
