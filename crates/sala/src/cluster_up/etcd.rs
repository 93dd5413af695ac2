//! The coordination store beside the masters: etcd, with TLS between members and to clients, and with users.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::home::Home;
use super::https::{Https, Server};
use super::plan::{ETCD_CLIENT_PORT, ETCD_PEER_PORT, Host, Plan};
use super::process::{Spec, find_program};

/// Between two heartbeats of the leader.
const HEARTBEAT_MS: u32 = 100;
/// Silence after which members elect a new leader. On one machine nothing but a fault takes as long.
const ELECTION_MS: u32 = 800;
/// Cost of hashing passwords: the least there is. Ours are random and cannot be guessed, while at etcd's default a
/// log-in takes 100 ms of a core, and all nodes log in at once when a member dies: that can keep a small machine
/// too busy to elect a leader.
const BCRYPT_COST: u32 = 4;
/// What a member may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// What the first election may take, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// `/sala/` in base64, and the first key after all that begin with it: `/sala0`.
const PREFIX_RANGE: (&str, &str) = ("L3NhbGEv", "L3NhbGEw");

/// The program.
///
/// # Errors
/// Says how to install it.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    find_program("etcd").context(
        "etcd is missing, which the masters keep their state in; install it: apt-get install etcd-server",
    )
}

/// How to start the member on a host.
pub(crate) fn spec(plan: &Plan, host: &Host, home: &Home) -> anyhow::Result<Spec> {
    let (certificate, key) = home.issue(&host.name, &[host.address.into()])?;
    let name = &host.name;
    let peer = |host: &Host| format!("https://{}", host.socket(ETCD_PEER_PORT));
    let client = format!("https://{}", host.socket(ETCD_CLIENT_PORT));
    let members =
        plan.masters().map(|host| format!("{}={}", host.name, peer(host))).collect::<Vec<_>>().join(",");
    let mut arguments: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| {
        arguments.push(format!("--{name}").into());
        arguments.push(value);
    };
    option("name", name.into());
    option("data-dir", home.file(&format!("etcd/{name}")).into());
    option("listen-peer-urls", peer(host).into());
    option("initial-advertise-peer-urls", peer(host).into());
    option("listen-client-urls", client.clone().into());
    option("advertise-client-urls", client.into());
    option("initial-cluster", members.into());
    option("initial-cluster-token", format!("sala-{}", plan.id).into());
    option("heartbeat-interval", HEARTBEAT_MS.to_string().into());
    option("election-timeout", ELECTION_MS.to_string().into());
    option("bcrypt-cost", BCRYPT_COST.to_string().into());
    option("auto-compaction-mode", "periodic".into());
    option("auto-compaction-retention", "1h".into());
    option("logger", "zap".into());
    option("log-level", "warn".into());
    for prefix in ["", "peer-"] {
        option(&format!("{prefix}cert-file"), certificate.clone().into());
        option(&format!("{prefix}key-file"), key.clone().into());
        option(&format!("{prefix}trusted-ca-file"), home.ca_file().into());
    }
    arguments.extend(["--client-cert-auth", "--peer-client-cert-auth", "--pre-vote"].map(OsString::from));
    Ok(Spec {
        program: program()?,
        arguments,
        namespace: plan.namespaces.then(|| super::network::namespace(name)),
        log: home.file(&format!("logs/{name}.etcd.log")),
    })
}

/// What one member says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberStatus {
    pub(crate) leads: bool,
    /// Whether it knows a leader, that is, has a quorum.
    pub(crate) has_leader: bool,
}

/// Asks the member on a host.
pub(crate) async fn status(
    https: &Https,
    member: SocketAddr,
    patience: Duration,
) -> anyhow::Result<MemberStatus> {
    let answer = https
        .call(&Server::Etcd(member), "POST", "/v3/maintenance/status", Some(&json!({})), patience)
        .await?;
    let leader = answer["leader"].as_str().unwrap_or("0");
    let me = answer["header"]["member_id"].as_str().unwrap_or_default();
    Ok(MemberStatus { leads: leader == me, has_leader: leader != "0" })
}

/// Waits until every member knows a leader.
///
/// # Errors
/// When that takes too long; the logs then tell why.
pub(crate) async fn ready(https: &Https, members: &[SocketAddr]) -> anyhow::Result<()> {
    let all = async {
        for member in members {
            super::ready::until(|| async {
                status(https, *member, CALL_TIMEOUT).await.is_ok_and(|status| status.has_leader)
            })
            .await;
        }
    };
    tokio::time::timeout(START_TIMEOUT, all)
        .await
        .with_context(|| format!("etcd found no leader within {START_TIMEOUT:?}"))
}

/// Makes the users and switches authentication on: `root`, whom only we know, and `sala`, who may use the keys
/// under `/sala/`.
pub(crate) async fn set_up_users(https: &Https, member: SocketAddr, home: &Home) -> anyhow::Result<()> {
    let (from, to) = PREFIX_RANGE;
    let permission = json!({ "permType": "READWRITE", "key": from, "range_end": to });
    let root = home.secrets.store_root_password.reveal();
    let sala = home.secrets.store_password.reveal();
    let steps: [(&str, Value); 8] = [
        ("user/add", json!({ "name": "root", "password": root })),
        ("role/add", json!({ "name": "root" })),
        ("user/grant", json!({ "user": "root", "role": "root" })),
        ("role/add", json!({ "name": "sala" })),
        ("role/grant", json!({ "name": "sala", "perm": permission })),
        ("user/add", json!({ "name": "sala", "password": sala })),
        ("user/grant", json!({ "user": "sala", "role": "sala" })),
        ("enable", json!({})),
    ];
    for (step, body) in steps {
        let path = format!("/v3/auth/{step}");
        // Hashing a password takes a while where the machine is busy.
        let done = https.call(&Server::Etcd(member), "POST", &path, Some(&body), CALL_TIMEOUT * 5).await;
        if let Err(error) = done {
            bail!("etcd did not accept its users: {error:#}");
        }
    }
    Ok(())
}
