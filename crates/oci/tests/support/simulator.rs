//! The simulated cloud with one instance in it, in this process. It was written from Oracle's documents and SDK, not
//! from our client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oci::principal::Principal;
use oci::services::Bucket;
use oci::{Cloud, Imds, Ocid, Policy, Settings};
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub(crate) const COMPARTMENT: &str = "ocid1.compartment.oc1..cluster";
pub(crate) const INSTANCE: &str = "ocid1.instance.oc1.fra.one";
pub(crate) const VAULT: &str = "ocid1.vault.oc1.fra.v";

/// Until the simulator answers; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Simulator {
    admin: String,
    settings: Settings,
    client: Client<HttpConnector, Full<Bytes>>,
    directory: std::path::PathBuf,
    /// Ends with the test.
    _cloud: JoinSet<()>,
}

impl Simulator {
    /// `statements` are what the instance may do in the compartment.
    pub(crate) async fn new(test: &str, statements: &[&str]) -> Simulator {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (listen, admin) = (free(), free());
        let directory = std::env::temp_dir().join(format!("sala-oci-{test}-{}", std::process::id()));
        let config = json!({
            "listen": listen, "adminListen": admin, "stateDir": directory,
            "tenancy": { "id": "ocid1.tenancy.oc1..t", "namespace": "testns" },
            "compartments": [{ "id": COMPARTMENT, "name": "cluster" }],
            "time": { "scale": 60.0 },
            "delays": { "iamSeconds": 0.0, "membershipSeconds": 0.0 },
            "iam": iam(statements),
            "resources": {
                "buckets": [{ "name": "data" }],
                "vaults": [{ "displayName": "demo-vault", "id": VAULT }],
                "instances": [{ "displayName": "one", "id": INSTANCE, "freeformTags": { "kept": "yes" } }],
            },
        });
        let config = serde_json::from_value(config).unwrap();
        let mut cloud = JoinSet::new();
        cloud.spawn(async move { oci_simulator::serve(config).await.unwrap() });
        let policy = Policy { first_pause: Duration::from_millis(20), ..Policy::default() };
        let settings = Settings { endpoint: Some(format!("http://{listen}").parse().unwrap()), policy };
        let client = Client::builder(TokioExecutor::new()).build_http();
        let admin = format!("http://{admin}/sim");
        Simulator { admin, settings, client, directory, _cloud: cloud }
    }

    pub(crate) fn bucket(&self) -> Bucket {
        Bucket { namespace: "testns".into(), name: "data".into() }
    }

    /// The cloud as the instance sees it.
    pub(crate) async fn cloud(&self) -> Cloud {
        Cloud::new(Principal::instance(&self.imds().await, &self.settings).await.unwrap(), &self.settings)
    }

    pub(crate) async fn imds(&self) -> Imds {
        let begun = Instant::now();
        loop {
            let state = self.request("GET", "state", Value::Null).await;
            if let Some(url) = state.as_ref().and_then(|state| state["instances"][0]["imdsUrl"].as_str()) {
                return Imds::at(&url.parse().unwrap());
            }
            assert!(begun.elapsed() < PATIENCE, "{state:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn allow(&self, statements: &[&str]) {
        self.request("PUT", "iam", iam(statements)).await.unwrap();
    }

    pub(crate) async fn fault(&self, fault: Value) {
        self.request("POST", "faults", fault).await.unwrap();
    }

    pub(crate) async fn delays(&self, delays: Value) {
        self.request("PUT", "delays", delays).await.unwrap();
    }

    /// How often an operation was asked for.
    pub(crate) async fn calls(&self, operation: &str) -> u64 {
        let path = format!("calls?operation={operation}");
        let calls = self.request("GET", &path, Value::Null).await.unwrap();
        calls["counts"][operation].as_u64().unwrap_or_default()
    }

    async fn request(&self, method: &str, path: &str, body: Value) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(format!("{}/{path}", self.admin));
        let response = self.client.request(request.body(Full::from(body)).unwrap()).await.ok()?;
        let status = response.status();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        assert!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
        Some(serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // What is left of it does no harm.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn compartment() -> Ocid {
    Ocid::new(COMPARTMENT)
}

fn iam(statements: &[&str]) -> Value {
    let here = format!("in compartment id {COMPARTMENT}");
    let statements: Vec<_> =
        statements.iter().map(|may| format!("allow dynamic-group machines to {may} {here}")).collect();
    json!({
        "dynamicGroups": [
            { "name": "machines", "matchingRule": format!("ALL {{instance.compartment.id = '{COMPARTMENT}'}}") },
        ],
        "policies": [{ "name": "machines", "statements": statements }],
    })
}
