//! Requests to etcd and to masters over mutual TLS: one connection each, small JSON answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use cluster::NodeId;
use cluster::security::NodeTls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::home::Home;

/// Of both: requests and answers, not links.
const ALPN: &[u8] = b"http/1.1";
/// Longest answer: the state of a cluster with some thousand rooms.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Name of the certificate that we show to etcd.
const OUR_NAME: &str = "sala-cluster-up";

/// Whom a request is for: that decides which certificate is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Server {
    /// A node of Sala, by its id.
    Node(String, SocketAddr),
    /// A member of etcd.
    Etcd(SocketAddr),
}

impl Server {
    fn address(&self) -> SocketAddr {
        match self {
            Server::Node(_, address) | Server::Etcd(address) => *address,
        }
    }
}

/// A client with certificates of the cluster.
#[derive(Clone)]
pub(crate) struct Https {
    tls: Arc<NodeTls>,
    nodes: TlsConnector,
    etcd: TlsConnector,
}

impl Https {
    /// For the cluster of that id, with certificates of its authority.
    pub(crate) fn new(home: &Home, cluster: &str) -> anyhow::Result<Https> {
        let us = NodeId(OUR_NAME.to_owned());
        let tls = NodeTls::new(home.authority.clone(), cluster, &us, Vec::new(), SystemTime::now())?;
        let nodes = TlsConnector::from(tls.client_config(ALPN)?);

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(home.authority.certificate_pem().as_bytes())?)?;
        let (certificate, key) = home.issue(OUR_NAME, &[])?;
        let chain = vec![CertificateDer::from_pem_file(certificate)?];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Https { tls, nodes, etcd: TlsConnector::from(Arc::new(config)) })
    }

    /// Renews our certificate for ever.
    pub(crate) async fn keep_fresh(self) {
        self.tls.keep_fresh().await;
    }

    /// Sends a request and reads the JSON that comes back; an empty answer is null.
    ///
    /// # Errors
    /// When nothing comes in time, or the status is not 2xx; the text then has what the server said.
    pub(crate) async fn call(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> anyhow::Result<Value> {
        let address = server.address();
        let exchange = self.exchange(server, method, path, body);
        tokio::time::timeout(patience, exchange)
            .await
            .with_context(|| format!("{address} did not answer within {patience:?}"))?
            .with_context(|| format!("{method} https://{address}{path}"))
    }

    async fn exchange(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let address = server.address();
        let (connector, name) = match server {
            Server::Node(id, _) => (&self.nodes, self.tls.server_name(&NodeId(id.clone()))?),
            Server::Etcd(address) => (&self.etcd, ServerName::from(address.ip())),
        };
        let mut stream = connector.connect(name, TcpStream::connect(address).await?).await?;
        let body = body.map(Value::to_string).unwrap_or_default();
        // HTTP/1.0: the answer comes whole and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        match stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await {
            // Some servers end without TLS's goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
            read => drop(read?),
        }
        parse(&String::from_utf8_lossy(&answer))
    }
}

fn parse(answer: &str) -> anyhow::Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer broke off")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status.context("the answer is not HTTP")? {
        200..=299 if body.trim().is_empty() => Ok(Value::Null),
        200..=299 => serde_json::from_str(body).context("the answer is not JSON"),
        status => bail!("HTTP {status}: {}", body.trim()),
    }
}
