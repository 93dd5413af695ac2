//! The simulated cloud, and a registry that says what a test wants.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oci::drain_watch::Node;
use oci::drain_watch::state::Look;
use oci::principal::Principal;
use oci::scaling::caller::Caller;
use oci::scaling::masters::{Cluster, Masters, Pace, Place};
use oci::scaling::wire::{Answer, Ask, NodeLoad};
use oci::services::Bucket;
use oci::{Cloud, Imds, Ocid, Settings};
use serde_json::{Value, json};
use tokio::task::JoinSet;

pub(crate) const CYCLE: Duration = Duration::from_secs(10);

/// Longest that anything may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(90);

const COMPARTMENT: &str = "ocid1.compartment.oc1..cluster";

/// What a cloud has that runs a stack named `prod`.
pub(crate) struct World {
    admin: String,
    settings: Settings,
    client: Client<HttpConnector, Full<Bytes>>,
    masters: Vec<Ocid>,
    pub(crate) registry: Registry,
    state: Mutex<Value>,
    directory: PathBuf,
    _cloud: JoinSet<()>,
}

/// A scale-in call, as the cloud noted it.
#[derive(Clone, Debug)]
pub(crate) struct ScaleIn {
    pub(crate) unix_ms: i64,
    pub(crate) by_instance: bool,
    pub(crate) answer: Answer,
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").to_string()
}

fn config(listen: &str, admin: &str, directory: &std::path::Path) -> Value {
    let metadata = json!({
        "stackName": "prod", "compartmentOcid": COMPARTMENT, "objectStorageNamespace": "testns",
        "bucketClusterData": "prod-cluster-data",
    });
    let masters: Vec<Value> = (1..=4)
        .map(|n| {
            json!({
                "displayName": format!("prod-master-node-{n}"), "id": format!("ocid1.instance.oc1.fra.master{n}"),
                "metadata": metadata,
                "freeformTags": {
                    "sala-stack": "prod", "sala-role": "master", "sala-media-mode": "elastic",
                    "sala-min-media-nodes": "1", "sala-max-media-nodes": "2", "sala-scale-target-cpu": "50",
                    "sala-scale-out": "on",
                },
            })
        })
        .collect();
    let ids: Vec<&str> = masters.iter().filter_map(|master| master["id"].as_str()).collect();
    let program = std::env::current_exe().expect("this program");
    let here = format!("in compartment id {COMPARTMENT}");
    json!({
        "listen": listen, "adminListen": admin, "stateDir": directory,
        "tenancy": { "id": "ocid1.tenancy.oc1..t", "namespace": "testns" },
        "compartments": [{ "id": COMPARTMENT, "name": "cluster" }],
        "time": { "scale": 30.0 },
        "delays": { "iamSeconds": 0.0, "membershipSeconds": 0.0 },
        "iam": {
            "dynamicGroups": [
                { "name": "machines", "matchingRule": format!("ALL {{instance.compartment.id = '{COMPARTMENT}'}}") },
                { "name": "function", "matchingRule": "ALL {resource.type = 'fnfunc'}" },
            ],
            "policies": [{ "name": "all", "statements": [
                format!("allow dynamic-group machines to {{OBJECT_READ, OBJECT_CREATE, OBJECT_OVERWRITE, FN_APP_LIST, \
                    FN_FUNCTION_LIST, FN_INVOCATION, INSTANCE_POOL_INSPECT, INSTANCE_POOL_READ, INSTANCE_POOL_UPDATE, \
                    INSTANCE_INSPECT, INSTANCE_READ, METRIC_WRITE}} {here}"),
                format!("allow dynamic-group machines to manage instance-family {here}"),
                format!("allow dynamic-group function to manage instance-family {here}"),
                format!("allow dynamic-group function to manage compute-management-family {here}"),
                format!("allow dynamic-group function to manage volume-family {here}"),
                format!("allow dynamic-group function to manage virtual-network-family {here}"),
                format!("allow dynamic-group function to read metrics {here}"),
            ]}],
        },
        "resources": {
            "buckets": [{ "name": "prod-cluster-data" }],
            "instances": masters,
            "pools": [{
                "displayName": "prod-media-pool", "size": 3,
                "instance": {
                    "metadata": metadata, "freeformTags": { "sala-stack": "prod", "sala-role": "media" },
                },
            }],
            "applications": [{
                "displayName": "prod-scalein",
                "functions": [{
                    "displayName": "scalein", "command": [program, "function"],
                    "config": {
                        "STACK_NAME": "prod", "COMPARTMENT_OCID": COMPARTMENT, "MIN_MEDIA_NODES": "1",
                        "SCALE_TARGET_CPU": "50", "GRACE_SECONDS": "2", "MASTER_INSTANCE_OCIDS": ids.join(","),
                    },
                }],
            }],
        },
    })
}

impl World {
    pub(crate) async fn new() -> World {
        let (listen, admin) = (free_address(), free_address());
        let directory = std::env::temp_dir().join(format!("sala-scaling-{}", std::process::id()));
        let config = config(&listen, &admin, &directory);
        let ids = config["resources"]["instances"].as_array().expect("masters").iter();
        let masters = ids.map(|master| Ocid::new(master["id"].as_str().expect("an id"))).collect();
        let parsed = serde_json::from_value(config.clone()).expect("a configuration");
        let mut cloud = JoinSet::new();
        cloud.spawn(async move { oci_simulator::serve(parsed).await.expect("the simulator runs") });
        let endpoint = format!("http://{listen}").parse().expect("a URL");
        let world = World {
            admin: format!("http://{admin}/sim"),
            settings: Settings { endpoint: Some(endpoint), ..Settings::default() },
            client: Client::builder(TokioExecutor::new()).build_http(),
            masters,
            registry: Registry::default(),
            state: Mutex::new(Value::Null),
            directory,
            _cloud: cloud,
        };
        world.until("the cloud", async || world.refresh().await).await;
        world
            .until("three nodes", async || {
                world.members().await.len() == 3 && world.pool()["state"] == "RUNNING"
            })
            .await;
        world
    }

    /// Waits for something, looking again and again.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !is_so().await {
            if begun.elapsed() > PATIENCE {
                let functions = self.try_get("functions").await;
                panic!("waited in vain for {what}: {:#}\ncalls: {functions:#?}", *self.state.lock().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.refresh().await;
        }
    }

    async fn try_get(&self, path: &str) -> Option<Value> {
        self.request("GET", path, String::new()).await
    }

    async fn request(&self, method: &str, path: &str, body: String) -> Option<Value> {
        let request = Request::builder().method(method).uri(format!("{}/{path}", self.admin));
        let response = self.client.request(request.body(Full::from(body)).ok()?).await.ok()?;
        let status = response.status();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        assert!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).ok()
    }

    async fn refresh(&self) -> bool {
        let state = self.try_get("state").await;
        let is_there = state.is_some();
        if let Some(state) = state {
            *self.state.lock().unwrap() = state;
        }
        is_there
    }

    /// The media pool, as last seen.
    pub(crate) fn pool(&self) -> Value {
        let state = self.state.lock().unwrap();
        state["pools"].as_array().and_then(|pools| pools.first()).cloned().unwrap_or_default()
    }

    /// Who is in the pool now.
    pub(crate) async fn members(&self) -> Vec<Ocid> {
        self.refresh().await;
        let pool = self.pool();
        let members = pool["members"].as_array().into_iter().flatten().filter_map(Value::as_str);
        members.map(Ocid::new).collect()
    }

    pub(crate) async fn instance(&self, id: &Ocid) -> Value {
        self.refresh().await;
        let state = self.state.lock().unwrap();
        let mut all = state["instances"].as_array().into_iter().flatten();
        all.find(|instance| instance["id"] == id.as_str()).cloned().unwrap_or_default()
    }

    pub(crate) async fn is_gone(&self, id: &Ocid) -> bool {
        matches!(self.instance(id).await["state"].as_str(), None | Some("TERMINATING" | "TERMINATED"))
    }

    pub(crate) fn master(&self, n: usize) -> Ocid {
        self.masters[n].clone()
    }

    pub(crate) fn bucket(&self) -> Bucket {
        Bucket { namespace: "testns".into(), name: "prod-cluster-data".into() }
    }

    pub(crate) async fn imds_of(&self, id: &Ocid) -> Imds {
        let instance = self.instance(id).await;
        Imds::at(&instance["imdsUrl"].as_str().expect("metadata").parse().expect("a URL"))
    }

    pub(crate) async fn cloud_of(&self, id: &Ocid) -> Cloud {
        let imds = self.imds_of(id).await;
        Cloud::new(Principal::instance(&imds, &self.settings).await.expect("a principal"), &self.settings)
    }

    /// Calls the function as an instance.
    pub(crate) async fn ask_as(&self, id: &Ocid, ask: &Ask) -> Answer {
        let cloud = self.cloud_of(id).await;
        Caller::new(cloud, Ocid::new(COMPARTMENT), "prod".into()).call(ask).await.expect("an answer")
    }

    /// Four masters that work until this is dropped.
    pub(crate) fn masters(self: &World) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for id in self.masters.clone() {
            let state = self.state.lock().unwrap();
            let instance = state["instances"].as_array().into_iter().flatten();
            let instance = instance.clone().find(|instance| instance["id"] == id.as_str()).expect("a master");
            let imds = Imds::at(&instance["imdsUrl"].as_str().expect("metadata").parse().expect("a URL"));
            let (settings, registry) = (self.settings.clone(), self.registry.clone());
            let me = instance["displayName"].as_str().expect("a name").to_owned();
            drop(state);
            tasks.spawn(async move {
                let principal = Principal::instance(&imds, &settings).await.expect("a principal");
                let place = Place::read(&imds).await.expect("metadata");
                let pace = Pace {
                    cycle: CYCLE,
                    lock_ttl: CYCLE,
                    orphan_after: Duration::from_secs(5),
                    grace: Duration::from_secs(2),
                    ..Pace::default()
                };
                let cloud = Cloud::new(principal, &settings);
                Masters::new(cloud, imds, registry, me, place, pace).run().await;
            });
        }
        tasks
    }

    /// The scale-in calls that have been answered.
    pub(crate) async fn scale_ins(&self) -> Vec<ScaleIn> {
        let functions = self.try_get("functions").await.unwrap_or_default();
        let calls = functions["invoked"].as_array().into_iter().flatten();
        calls
            .filter(|call| call["request"].as_str().is_some_and(|text| text.contains("scale-in")))
            .filter_map(|call| {
                Some(ScaleIn {
                    unix_ms: call["unixMs"].as_i64()?,
                    by_instance: call["callerType"] == "instance",
                    answer: serde_json::from_str(call["response"].as_str()?).ok()?,
                })
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The registry of a cluster, the same for all masters.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Vec<NodeLoad>>>);

impl Registry {
    pub(crate) fn put(&self, id: &Ocid, participants: u32, cpu: f64) {
        self.remove(id);
        let rooms = participants.div_ceil(3);
        self.0.lock().unwrap().push(NodeLoad {
            instance_id: Some(id.clone()),
            rooms,
            participants,
            cpu,
            draining: false,
        });
    }

    pub(crate) fn remove(&self, id: &Ocid) {
        self.0.lock().unwrap().retain(|node| node.instance_id.as_ref() != Some(id));
    }

    pub(crate) fn is_draining(&self, id: &Ocid) -> bool {
        self.0.lock().unwrap().iter().any(|node| node.instance_id.as_ref() == Some(id) && node.draining)
    }

    fn set_draining(&self, id: &Ocid, draining: bool) {
        for node in self.0.lock().unwrap().iter_mut().filter(|node| node.instance_id.as_ref() == Some(id)) {
            node.draining = draining;
        }
    }
}

impl Cluster for Registry {
    fn media_nodes(&self) -> Option<Vec<NodeLoad>> {
        Some(self.0.lock().unwrap().clone())
    }

    fn refused_rooms(&self) -> u64 {
        0
    }

    fn is_first(&self) -> bool {
        false
    }

    async fn drain(&self, instance: &Ocid) -> Result<(), String> {
        self.set_draining(instance, true);
        Ok(())
    }
}

/// A media node that drains when it is told to.
#[derive(Clone)]
pub(crate) struct FakeNode {
    registry: Registry,
    id: Ocid,
    look: Arc<Mutex<Look>>,
    looks: Arc<AtomicUsize>,
}

impl FakeNode {
    pub(crate) fn new(registry: Registry, id: Ocid) -> FakeNode {
        let look = Look::Known { draining: false, rooms: 1, participants: 2 };
        FakeNode { registry, id, look: Arc::new(Mutex::new(look)), looks: Arc::default() }
    }

    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, look: Look) {
        *self.look.lock().unwrap() = look;
    }

    fn set_draining(&self, now: bool) {
        if let Look::Known { draining, .. } = &mut *self.look.lock().unwrap() {
            *draining = now;
        }
        self.registry.set_draining(&self.id, now);
    }
}

impl Node for FakeNode {
    async fn look(&self) -> Result<Look, String> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(*self.look.lock().unwrap())
    }

    async fn drain(&self, _deadline: Duration) -> Result<(), String> {
        self.set_draining(true);
        Ok(())
    }

    async fn cancel(&self) -> Result<(), String> {
        self.set_draining(false);
        Ok(())
    }
}
