//! A process beside a node, on the same machine and with its configuration: it sees the cluster with the node's
//! certificate, and asks the masters about the node.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use cluster::link::InternalClient;
use cluster::security::{Ca, NodeTls};
use cluster::status::{ClusterStatus, NodeStatus};
use cluster::{NODES, NodeId, NodeRecord, Role};
use serde_json::{Value, json};
use store::{EtcdStore, Store, range_all};

use super::{etcd, node_id, pem, renew_store_certificate};
use crate::config::cluster as settings;

/// Longest answer of a master: its nodes, without rooms and events.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// What a master may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The cluster as seen from beside the node `id`.
pub(crate) struct Beside {
    pub(crate) id: NodeId,
    store: EtcdStore,
    client: InternalClient,
}

impl Beside {
    /// Within a tokio runtime.
    pub(crate) fn new(settings: &settings::Cluster) -> anyhow::Result<Beside> {
        let id = node_id(settings)?;
        let address = settings.internal_address.ip();
        let ca = Ca::load(
            &pem(&settings.ca_certificate_file, "SALA_CLUSTER_CA_CERTIFICATE", "ca_certificate_file")?,
            &pem(&settings.ca_key_file, "SALA_CLUSTER_CA_KEY", "ca_key_file")?,
        )?;
        let tls = NodeTls::new(ca, &settings.id, &id, vec![address], SystemTime::now())?;
        tokio::spawn(tls.clone().keep_fresh());
        let store = EtcdStore::new(etcd(settings, &tls)?)?;
        tokio::spawn(renew_store_certificate(store.clone(), tls.clone()));
        let client = InternalClient::new(tls, Some(address))?;
        Ok(Beside { id, store, client })
    }

    /// The node as a master sees it; `None`: the cluster does not know it. An error: nobody can say.
    pub(crate) async fn node(&self) -> anyhow::Result<Option<NodeStatus>> {
        let answer = self.ask(Method::GET, "/internal/status?rooms=0&events=0", None).await?;
        let status: ClusterStatus = serde_json::from_value(answer).context("the answer of a master")?;
        if !status.store_quorum {
            bail!("the master {} does not reach the store now", status.node);
        }
        Ok(status.nodes.into_iter().find(|node| node.record.id == self.id))
    }

    /// Begins to empty the node.
    pub(crate) async fn drain(&self, deadline: Duration) -> anyhow::Result<()> {
        let wish = json!({ "deadline_ms": deadline.as_millis() as u64, "by": "cloud" });
        self.ask(Method::POST, &format!("/internal/drain/{}", self.id), Some(wish)).await.map(drop)
    }

    /// Lets it serve again.
    pub(crate) async fn cancel_drain(&self) -> anyhow::Result<()> {
        self.ask(Method::DELETE, &format!("/internal/drain/{}", self.id), None).await.map(drop)
    }

    /// Asks one master after the other until one answers well.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut failed = None;
        for (master, address) in self.masters().await? {
            let asked = self.ask_one(&master, address, &method, path, body.as_ref());
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(anyhow::anyhow!("the master {master} did not answer in time")),
            }
        }
        Err(failed.unwrap_or_else(|| anyhow::anyhow!("no master is registered in the store")))
    }

    async fn masters(&self) -> anyhow::Result<Vec<(NodeId, SocketAddr)>> {
        let store: &dyn Store = &self.store;
        let (entries, _) = range_all(store, NODES).await.context("the store does not answer")?;
        let records =
            entries.iter().filter_map(|entry| serde_json::from_slice::<NodeRecord>(&entry.value).ok());
        let masters = records.filter(|record| record.roles.contains(&Role::Master));
        Ok(masters.map(|record| (record.id, record.internal_address)).collect())
    }

    async fn ask_one(
        &self,
        master: &NodeId,
        address: SocketAddr,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(text))?;
        let response = self.client.request(address, master, request).await?;
        let status = response.status();
        let bytes = to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES).await?;
        if !status.is_success() {
            bail!("the master {master} says: {status} {}", String::from_utf8_lossy(&bytes).trim());
        }
        match bytes.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&bytes).with_context(|| format!("the answer of {master}")),
        }
    }
}
