//! What is said to the function, and what it answers, as JSON. Fields are only ever added: masters may be newer than
//! the function's image, or older.

use serde::{Deserialize, Serialize};

use crate::Ocid;

/// Nodes or instances in one request; a pool has 500 at most.
pub const MAX_NODES: usize = 1_000;

/// Longest request: [`MAX_NODES`] of some 200 bytes.
pub const MAX_REQUEST_BYTES: usize = 256 << 10;

/// What the function is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Ask {
    /// By a master: take a node out of the pool if there are too many.
    ScaleIn {
        /// All media nodes that the cluster knows, with their load.
        nodes: Vec<NodeLoad>,
        /// Why no node can be spared now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<String>,
    },
    /// By a media node about itself: end this instance.
    Terminate { instance_id: Ocid },
    /// By a master: end these instances, which nobody needs.
    Sweep { instance_ids: Vec<Ocid> },
}

/// A media node as the cluster's registry shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLoad {
    /// `None`: the node did not say which instance it is.
    pub instance_id: Option<Ocid>,
    pub rooms: u32,
    pub participants: u32,
    /// Share of all its cores, 0.0..=1.0.
    pub cpu: f64,
    #[serde(default)]
    pub draining: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// A node left the pool and drains now.
    Detached,
    /// Nothing.
    Kept,
    Terminated,
    /// The caller may not ask for this, or it was no sensible request.
    Refused,
}

/// The function's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<Ocid>,
    /// One sentence.
    pub reason: String,
    /// Of a sweep: which instances were ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terminated: Vec<Ocid>,
}

impl Answer {
    pub fn kept(reason: impl Into<String>) -> Answer {
        Answer { decision: Decision::Kept, instance_id: None, reason: reason.into(), terminated: Vec::new() }
    }

    pub fn refused(reason: impl Into<String>) -> Answer {
        Answer { decision: Decision::Refused, ..Answer::kept(reason) }
    }

    pub fn about(self, instance: &Ocid) -> Answer {
        Answer { instance_id: Some(instance.clone()), ..self }
    }
}

/// Why a request was not understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadAsk {
    #[error("the body is no request: {0}; send JSON such as {{\"action\":\"scale-in\",\"nodes\":[]}}")]
    NotJson(String),
    #[error("the request names {0} nodes, {MAX_NODES} are the most")]
    TooMany(usize),
    #[error("`cpu` of a node is {0}; it is a share of all cores, from 0 to 1")]
    Cpu(f64),
}

impl Ask {
    /// Reads a request, within its limits.
    pub fn parse(body: &[u8]) -> Result<Ask, BadAsk> {
        let ask: Ask = serde_json::from_slice(body).map_err(|error| BadAsk::NotJson(error.to_string()))?;
        match &ask {
            Ask::ScaleIn { nodes, .. } if nodes.len() > MAX_NODES => Err(BadAsk::TooMany(nodes.len())),
            Ask::ScaleIn { nodes, .. } => match nodes.iter().find(|node| !(0.0..=1.0).contains(&node.cpu)) {
                Some(node) => Err(BadAsk::Cpu(node.cpu)),
                None => Ok(ask),
            },
            Ask::Sweep { instance_ids } if instance_ids.len() > MAX_NODES => {
                Err(BadAsk::TooMany(instance_ids.len()))
            }
            Ask::Sweep { .. } | Ask::Terminate { .. } => Ok(ask),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_that_of_the_contract() {
        let ask = Ask::parse(
            br#"{"action":"scale-in","nodes":[{"instanceId":"ocid1.instance.a","rooms":3,"participants":12,
                "cpu":0.2,"draining":false,"newer":1}],"alsoNewer":true}"#,
        );
        let node = NodeLoad {
            instance_id: Some(Ocid::new("ocid1.instance.a")),
            rooms: 3,
            participants: 12,
            cpu: 0.2,
            draining: false,
        };
        assert_eq!(ask, Ok(Ask::ScaleIn { nodes: vec![node], hold: None }));
        let terminate = Ask::Terminate { instance_id: Ocid::new("ocid1.instance.b") };
        let json = r#"{"action":"terminate","instanceId":"ocid1.instance.b"}"#;
        assert_eq!(serde_json::to_string(&terminate).unwrap(), json);
        assert_eq!(Ask::parse(json.as_bytes()), Ok(terminate));
        let sweep = Ask::parse(br#"{"action":"sweep","instanceIds":["ocid1.instance.c"]}"#);
        assert_eq!(sweep, Ok(Ask::Sweep { instance_ids: vec![Ocid::new("ocid1.instance.c")] }));
        let answer = Answer::kept("the pool is at its minimum").about(&Ocid::new("ocid1.instance.d"));
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"decision":"kept","instanceId":"ocid1.instance.d","reason":"the pool is at its minimum"}"#
        );
    }

    #[test]
    fn nonsense_is_named() {
        for (body, part) in [
            (&b""[..], "no request"),
            (b"[]", "no request"),
            (b"{\"action\":\"destroy\"}", "destroy"),
            (b"{\"action\":\"terminate\"}", "instanceId"),
            (b"{\"action\":\"scale-in\",\"nodes\":[{\"rooms\":-1}]}", "-1"),
            (
                b"{\"action\":\"scale-in\",\"nodes\":[{\"rooms\":1,\"participants\":1,\"cpu\":7}]}",
                "share of all cores",
            ),
        ] {
            let text = Ask::parse(body).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
        let ids = vec!["\"ocid1.instance.x\""; MAX_NODES + 1].join(",");
        let body = format!("{{\"action\":\"sweep\",\"instanceIds\":[{ids}]}}");
        assert_eq!(Ask::parse(body.as_bytes()), Err(BadAsk::TooMany(MAX_NODES + 1)));
    }
}
