//! The masters of the cluster: found in the store, asked one after the other until one answers.

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::{Method, Request, header};
use cluster::link::InternalClient;
use cluster::security::NodeTls;
use cluster::status::ClusterStatus;
use cluster::{NODES, NodeId, NodeRecord, Role};
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::{EtcdStore, range_all};

use crate::config::cluster::Cluster;
use crate::node;

/// As whom we come. Nodes know each other by certificates of one authority; operators have it, too.
const OUR_NAME: &str = "operator";

/// Longest answer: the state of a cluster with some thousand rooms.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Rooms that are listed.
const ROOMS: usize = 100_000;

pub(super) struct Masters {
    client: InternalClient,
    known: Vec<(NodeId, SocketAddr)>,
}

impl Masters {
    /// Reads from the store who they are.
    pub(super) async fn find(cluster: &Cluster) -> anyhow::Result<Masters> {
        let tls = NodeTls::new(
            node::authority(cluster)?,
            &cluster.id,
            &NodeId(OUR_NAME.into()),
            Vec::new(),
            SystemTime::now(),
        )?;
        let store = EtcdStore::new(node::etcd(cluster, &tls)?)?;
        let (entries, _) = range_all(&store, NODES).await.context("the store does not tell who is there")?;
        let records =
            entries.iter().filter_map(|entry| serde_json::from_slice::<NodeRecord>(&entry.value).ok());
        let masters = records.filter(|record| record.roles.contains(&Role::Master));
        let known: Vec<_> = masters.map(|record| (record.id, record.internal_address)).collect();
        if known.is_empty() {
            bail!("no master of {} is registered in the store; is `sala serve` running on one?", cluster.id);
        }
        Ok(Masters { client: InternalClient::new(tls, None)?, known })
    }

    /// The cluster as a master sees it.
    pub(super) async fn status(&self) -> anyhow::Result<ClusterStatus> {
        self.ask(Method::GET, &format!("/internal/status?rooms={ROOMS}"), None).await
    }

    /// What the first master that can be reached answers.
    ///
    /// # Errors
    /// When none can be reached, or that one refuses; with its words.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<T> {
        let mut unreachable = Vec::new();
        for (node, address) in &self.known {
            let body = body.as_ref().map(Value::to_string).unwrap_or_default();
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))?;
            let response = match self.client.request(*address, node, request).await {
                Ok(response) => response,
                Err(error) if error.is_unsent() => {
                    unreachable.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let status = response.status();
            let body = axum::body::to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES).await;
            let body = body.with_context(|| format!("the answer of {node} broke off"))?;
            if !status.is_success() {
                bail!("{node} refuses: {}", String::from_utf8_lossy(&body));
            }
            return serde_json::from_slice(&body)
                .with_context(|| format!("{node} answers what is not understood"));
        }
        bail!("no master can be reached: {}", unreachable.join("; "))
    }
}
