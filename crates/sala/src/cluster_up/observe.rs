//! Looks at the running cluster from outside, once a second: each member of the store, and one master's status.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::etcd::{self, MemberStatus};
use super::https::{Https, Server};
use super::plan::{ETCD_CLIENT_PORT, Host, INTERNAL_PORT};
use super::snapshot::MAX_EVENTS;
use cluster::status::{ClusterStatus, DEFAULT_ROOMS};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// What a member or a master may take; a longer answer counts as silence.
const PATIENCE: Duration = Duration::from_millis(700);
/// What a master may take to accept a command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(5);

/// What was seen at the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// By host; one that did not answer is not there.
    pub(crate) members: BTreeMap<String, MemberStatus>,
    /// None when no master answers.
    pub(crate) cluster: Option<Arc<ClusterStatus>>,
}

impl Seen {
    /// The host of etcd's leader.
    pub(crate) fn leader(&self) -> Option<&str> {
        self.members.iter().find(|(_, member)| member.leads).map(|(host, _)| host.as_str())
    }
}

#[derive(Clone)]
struct Master {
    name: String,
    internal: Server,
    member: SocketAddr,
}

/// Asks members and masters.
#[derive(Clone)]
pub(crate) struct Observer {
    https: Https,
    masters: Vec<Master>,
}

impl Observer {
    pub(crate) fn new<'a>(https: Https, masters: impl Iterator<Item = &'a Host>) -> Observer {
        let masters = masters
            .map(|host| Master {
                name: host.name.clone(),
                internal: Server::Node(host.name.clone(), host.socket(INTERNAL_PORT)),
                member: host.socket(ETCD_CLIENT_PORT),
            })
            .collect();
        Observer { https, masters }
    }

    /// Looks for ever.
    pub(crate) async fn watch(self, seen: watch::Sender<Seen>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut preferred = 0;
        loop {
            ticks.tick().await;
            let (members, cluster) = tokio::join!(self.members(), self.status(&mut preferred));
            seen.send_replace(Seen { members, cluster });
        }
    }

    async fn members(&self) -> BTreeMap<String, MemberStatus> {
        let mut asked = JoinSet::new();
        for Master { name, member, .. } in self.masters.clone() {
            let https = self.https.clone();
            asked.spawn(async move { (name, etcd::status(&https, member, PATIENCE).await) });
        }
        let answers = asked.join_all().await;
        answers.into_iter().filter_map(|(name, status)| Some((name, status.ok()?))).collect()
    }

    /// Asks the master that answered last time; if it does not, each other one.
    async fn status(&self, preferred: &mut usize) -> Option<Arc<ClusterStatus>> {
        let path = format!("/internal/status?rooms={DEFAULT_ROOMS}&events={MAX_EVENTS}");
        for turn in 0..self.masters.len() {
            let n = (*preferred + turn) % self.masters.len();
            let answer = self.https.call(&self.masters[n].internal, "GET", &path, None, PATIENCE).await;
            if let Some(status) = answer.ok().and_then(|value| serde_json::from_value(value).ok()) {
                *preferred = n;
                return Some(Arc::new(status));
            }
        }
        None
    }

    /// Has a node drained.
    ///
    /// # Errors
    /// What the last master that was asked said.
    pub(crate) async fn drain(&self, node: &str, deadline_ms: u64) -> anyhow::Result<Value> {
        let body = json!({ "deadline_ms": deadline_ms, "by": "cli" });
        self.command("POST", &format!("/internal/drain/{node}"), &body).await
    }

    /// Ends a drain before its time.
    ///
    /// # Errors
    /// What the last master that was asked said.
    pub(crate) async fn drain_cancel(&self, node: &str) -> anyhow::Result<Value> {
        self.command("DELETE", &format!("/internal/drain/{node}"), &json!({})).await
    }

    async fn command(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut failed = None;
        for master in &self.masters {
            match self.https.call(&master.internal, method, path, Some(body), COMMAND_PATIENCE).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.context("there is no master")?)
    }
}
