//! `cluster:` — what makes several processes one service. Absent: this process stands alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// All nodes of a cluster say the same. A store that belongs to another cluster refuses.
    pub(crate) id: String,
    /// Unique and stable. Absent: the host's name.
    #[serde(default)]
    pub(crate) node_id: Option<String>,
    /// What the cloud calls this machine, for those who add and remove nodes.
    #[serde(default)]
    pub(crate) instance_id: Option<String>,
    pub(crate) roles: Vec<Role>,
    /// Where other nodes reach this one, by mutual TLS. Its port is listened on at this address.
    pub(crate) internal_address: SocketAddr,
    /// PEM. Or the text itself in `SALA_CLUSTER_CA_CERTIFICATE`.
    #[serde(default)]
    pub(crate) ca_certificate_file: Option<PathBuf>,
    /// PEM, readable by its owner only. Or the text itself in `SALA_CLUSTER_CA_KEY`. Every node issues its own
    /// certificate with it.
    #[serde(default)]
    pub(crate) ca_key_file: Option<PathBuf>,
    /// Internal addresses of all masters.
    pub(crate) masters: Vec<SocketAddr>,
    pub(crate) store: Store,
    #[serde(default)]
    pub(crate) gateway: Gateway,
    #[serde(default)]
    pub(crate) node_selector: NodeSelector,
    /// What has not moved from a draining node by then is closed.
    #[serde(default = "sixty_seconds", with = "seconds")]
    pub(crate) drain_deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Gateway, placement, detection. An etcd member runs beside each master.
    Master,
    /// Serves rooms.
    Media,
}

/// The etcd cluster. TLS is by the cluster's CA.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// `https://host:port` of each member.
    pub(crate) endpoints: Vec<String>,
    #[serde(default)]
    pub(crate) username: String,
    /// Readable by its owner only. Or the password itself in `SALA_STORE_PASSWORD`.
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
}

/// What clients see of a master.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gateway {
    pub(crate) https: Vec<SocketAddr>,
    pub(crate) http: Vec<SocketAddr>,
    /// Plain HTTP without PROXY protocol and redirect: health checks, and clients within the private network.
    pub(crate) plain: Vec<SocketAddr>,
    /// Plain HTTP answers health checks and ACME challenges only, and redirects everything else.
    pub(crate) redirect_to_https: bool,
    /// PEM chain and key for `https`; read again when they change. Or the texts themselves in
    /// `SALA_GATEWAY_CERTIFICATE` and `SALA_GATEWAY_KEY`. Absent: `acme`, or else a self-signed certificate.
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// Domain names and addresses in the self-signed certificate.
    pub(crate) server_names: Vec<String>,
    /// A certificate from Let's Encrypt or another ACME server, shared by all masters.
    pub(crate) acme: Option<Acme>,
    /// The load balancer in front says who the client is (PROXY protocol v2).
    pub(crate) proxy_protocol: bool,
    /// TCP ports that media nodes serve through the masters.
    pub(crate) bridges: Vec<Bridge>,
}

/// Who configures it agrees to the server's terms.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Acme {
    /// Domain names, or addresses, by which clients reach the balancer.
    pub(crate) names: Vec<String>,
    /// Absent: Let's Encrypt.
    pub(crate) directory_url: Option<String>,
    /// A mail address that the server may write to.
    pub(crate) contact: Option<String>,
    /// PEM of the authority that the server's own certificate is from. Absent: the system's authorities.
    pub(crate) ca_file: Option<PathBuf>,
    /// One of the server's profiles.
    pub(crate) profile: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bridge {
    pub(crate) listen: SocketAddr,
    /// At the media node.
    pub(crate) port: u16,
}

/// Which node gets a new room; the names are LiveKit's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NodeSelector {
    /// `any`, `cpuload`, `sysload`: the latter two pass over nodes above their limit.
    pub(crate) kind: String,
    /// `random`, `sysload`, `cpuload`, `rooms`, `clients`, `tracks`, `bytespersec`.
    pub(crate) sort_by: String,
    /// `lowest` of all, or of two at random: `twochoice`.
    pub(crate) algorithm: String,
    /// 0.0..=1.0.
    pub(crate) cpu_load_limit: f32,
    /// Per core.
    pub(crate) sysload_limit: f32,
    /// By preference, the nearest first; empty: regions do not matter.
    pub(crate) regions: Vec<String>,
}

impl Default for NodeSelector {
    fn default() -> Self {
        Self {
            kind: "any".into(),
            sort_by: "cpuload".into(),
            algorithm: "twochoice".into(),
            cpu_load_limit: 0.9,
            sysload_limit: 0.9,
            regions: Vec::new(),
        }
    }
}

fn sixty_seconds() -> Duration {
    Duration::from_secs(60)
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de};

    /// `60`, `60s` or `5m`.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(seconds) => return Ok(Duration::from_secs(seconds)),
            Form::Text(text) => text,
        };
        let (digits, factor) = match text.strip_suffix('m') {
            Some(minutes) => (minutes, 60),
            None => (text.strip_suffix('s').unwrap_or(&text), 1),
        };
        let number: u64 = digits.parse().map_err(|_| {
            de::Error::custom(format!("`{text}` is no duration; write seconds as 60 or 60s, minutes as 5m"))
        })?;
        Ok(Duration::from_secs(number * factor))
    }
}
