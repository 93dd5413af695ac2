//! Each operation is sent as Oracle's own SDK sends it, and its answer is understood (`golden/make_requests.py`).

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci::services::*;
use oci::{Cloud, Ocid};
use serde_json::Value;
use support::{QUICK, Reply, Seen, Service, cloud};

/// 2026-11-24T12:00:00.123Z.
fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_521_600_123)
}

fn id(text: &str) -> Ocid {
    Ocid::new(text)
}

/// One recorded operation.
struct Golden {
    case: Value,
    service: Service,
    cloud: Cloud,
}

impl Golden {
    async fn new(name: &str) -> Golden {
        let all: Value = serde_json::from_str(include_str!("golden/requests.json")).unwrap();
        let case = all["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone();
        let answer = case["answer"].clone();
        let mut reply = match &answer {
            Value::Null => Reply::status(200),
            answer => Reply::json(answer),
        };
        for (name, value) in case["answer_headers"].as_object().unwrap() {
            reply = reply.with(name, value.as_str().unwrap());
        }
        let service = Service::scripted([reply]).await;
        let cloud = cloud(&service.url, QUICK);
        Golden { case, service, cloud }
    }

    /// Ours was as the SDK's, and signed.
    fn assert_same(&self) {
        let seen = self.service.seen();
        let ours = seen.last().unwrap();
        let theirs = &self.case["request"];
        assert_eq!(ours.method.as_str(), theirs["method"]);
        // Newer SDKs name a newer version of the Functions API; ours is the one that all of them know.
        let path = theirs["path"].as_str().unwrap().replace("/20260325/", "/20181201/");
        assert_eq!(ours.path, path);
        assert_eq!(query(ours), object(&theirs["query"]));
        for (name, value) in object(&theirs["headers"]) {
            assert_eq!(ours.header(&name), Some(value.as_str()), "{name}");
        }
        for name in ["if-match", "if-none-match"] {
            assert_eq!(ours.header(name), theirs["headers"][name].as_str(), "{name}");
        }
        let body = theirs["body"].to_string().replace(".123000Z", ".123Z");
        assert_eq!(ours.json(), serde_json::from_str::<Value>(&body).unwrap());
        let authorization = ours.header("authorization").unwrap();
        assert!(
            authorization.contains(r#"keyId="ocid1.tenancy.oc1..t/ocid1.user.oc1..u/aa:"#),
            "{authorization}"
        );
    }
}

fn query(seen: &Seen) -> BTreeMap<String, String> {
    let pairs = seen.query.split('&').filter_map(|pair| pair.split_once('='));
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect()
}

fn object(value: &Value) -> BTreeMap<String, String> {
    let object = value.as_object().unwrap();
    object.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// `golden!("name", |cloud| call)`: makes the call, compares the requests, gives the result.
macro_rules! golden {
    ($name:literal, |$cloud:ident| $call:expr) => {{
        let golden = Golden::new($name).await;
        let $cloud = &golden.cloud;
        let result = $call.await.unwrap();
        golden.assert_same();
        result
    }};
}

fn bucket() -> Bucket {
    Bucket { namespace: "ns".into(), name: "bu".into() }
}

#[tokio::test]
async fn object_storage() {
    assert_eq!(golden!("namespace", |cloud| cloud.objects().namespace()), "ns");
    golden!("head_bucket", |cloud| cloud.objects().head_bucket(&bucket()));
    let object = golden!("get_object", |cloud| cloud.objects().get(&bucket(), "dir/a b"));
    assert_eq!((object.etag.as_str(), &object.bytes[..]), ("e1", &br#"{"a":1}"#[..]));
    assert_eq!(object.content_type.as_deref(), Some("application/json"));
    let etag = golden!("put_absent", |cloud| cloud.objects().put(
        &bucket(),
        "lock",
        "application/json",
        "{}",
        Condition::Absent
    ));
    assert_eq!(etag.as_str(), "e1");
    let before = Etag::from("e0");
    golden!("put_matching", |cloud| cloud.objects().put(
        &bucket(),
        "lock",
        "application/json",
        "{}",
        Condition::Matches(&before)
    ));
    assert!(golden!("delete_object", |cloud| cloud.objects().delete(&bucket(), "lock", Some(&before))));
    let listed = golden!("list_objects", |cloud| cloud.objects().list(&bucket(), "keys/"));
    assert_eq!(
        (listed[0].name.as_str(), listed[0].size, listed[0].time_modified),
        ("keys/1", Some(4), Some(at()))
    );
}

#[tokio::test]
async fn secrets() {
    let (compartment, vault, key, secret) =
        (id("ocid1.c"), id("ocid1.vault.v"), id("ocid1.key.k"), id("ocid1.vaultsecret.s"));
    let value = SecretValue::from("s3cret");
    let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let new = NewSecret {
        compartment_id: &compartment,
        vault_id: &vault,
        key_id: &key,
        secret_name: "A-SECRET",
        description: "why",
        value: &value,
        freeform_tags: &tags,
    };
    let made = golden!("create_secret", |cloud| cloud.secrets().create(&new));
    assert_eq!(
        (made.id.as_str(), made.lifecycle_state),
        ("ocid1.vaultsecret.s", SecretState::PendingDeletion)
    );
    assert_eq!((made.current_version_number, made.time_of_deletion), (Some(3), Some(at())));
    let before = Etag::from("e0");
    golden!("update_secret", |cloud| cloud.secrets().update(&secret, &value, Some(&before)));
    let got = golden!("get_secret", |cloud| cloud.secrets().get(&secret));
    assert_eq!((got.secret_name.as_str(), got.etag.as_ref().unwrap().as_str()), ("A-SECRET", "e1"));
    assert_eq!(golden!("list_secrets", |cloud| cloud.secrets().list(&compartment, &vault)).len(), 1);
    let found = golden!("find_secret", |cloud| cloud.secrets().find(&compartment, &vault, "A-SECRET"));
    assert_eq!(found.unwrap().id, secret);
    golden!("schedule_deletion", |cloud| cloud.secrets().schedule_deletion(&secret, Some(at())));
    golden!("cancel_deletion", |cloud| cloud.secrets().cancel_deletion(&secret));
    let versions = golden!("secret_versions", |cloud| cloud.secrets().versions(&secret));
    assert_eq!((versions[0].version_number, &versions[0].stages[..]), (3, &["CURRENT".to_owned()][..]));
    golden!("schedule_version_deletion", |cloud| cloud.secrets().schedule_version_deletion(
        &secret,
        2,
        Some(at())
    ));
    let read = golden!("read_secret", |cloud| cloud.secrets().read(&secret));
    assert_eq!((read.value.text(), read.version_number), (Some("s3cret"), 3));
    let read = golden!("read_secret_by_name", |cloud| cloud.secrets().read_by_name(&vault, "A-SECRET"));
    assert!(!format!("{read:?}").contains("s3cret"));
}

#[tokio::test]
async fn vaults_and_keys() {
    let compartment = id("ocid1.c");
    let mut vault = golden!("get_vault", |cloud| cloud.kms().vault(&id("ocid1.vault.v")));
    assert_eq!(vault.lifecycle_state, VaultState::Active);
    assert_eq!(
        golden!("list_vaults", |cloud| cloud.kms().vaults(&compartment))[0].display_name,
        "demo-vault"
    );
    let golden = Golden::new("list_keys").await;
    vault.management_endpoint = format!("{}/", golden.service.url);
    let keys = golden.cloud.kms().keys(&vault, &compartment).await.unwrap();
    golden.assert_same();
    assert_eq!((keys[0].display_name.as_str(), keys[0].lifecycle_state), ("demo-key", KeyState::Enabled));
    let golden = Golden::new("get_key").await;
    vault.management_endpoint = golden.service.url.clone();
    golden.cloud.kms().key(&vault, &id("ocid1.key.k")).await.unwrap();
    golden.assert_same();
    let golden = Golden::new("create_key").await;
    vault.management_endpoint = golden.service.url.clone();
    let new = NewKey {
        compartment_id: &compartment,
        display_name: "demo-key",
        protection: Protection::Software,
        freeform_tags: &BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    };
    golden.cloud.kms().create_key(&vault, &new).await.unwrap();
    golden.assert_same();
}

#[tokio::test]
async fn instances() {
    let (compartment, instance) = (id("ocid1.c"), id("ocid1.instance.i"));
    let got = golden!("get_instance", |cloud| cloud.compute().instance(&instance));
    assert_eq!((got.lifecycle_state, got.time_created), (InstanceState::Running, at()));
    assert_eq!(got.freeform_tags["sala-role"], "media");
    let all = golden!("list_instances", |cloud| cloud.compute().instances(
        &compartment,
        Some("inst"),
        Some(InstanceState::Running)
    ));
    assert_eq!(all[0].id, instance);
    golden!("tag_instance", |cloud| cloud.compute().set_tag(&instance, "sala-draining", "1795521600"));
    let ended = golden!("terminate_instance", |cloud| cloud.compute().terminate(&instance));
    assert_eq!(ended, Terminate::Ending);
    let attached =
        golden!("list_vnic_attachments", |cloud| cloud.compute().vnic_attachments(&compartment, &instance));
    assert_eq!(attached[0].lifecycle_state, VnicAttachmentState::Attached);
    let vnic = golden!("get_vnic", |cloud| cloud.compute().vnic(&id("ocid1.vnic.n")));
    assert_eq!(vnic.public_ip, Some(IpAddr::from([203, 0, 113, 9])));
}

#[tokio::test]
async fn pools() {
    let (compartment, pool, instance) = (id("ocid1.c"), id("ocid1.instancepool.p"), id("ocid1.instance.i"));
    let found = golden!("list_pools", |cloud| cloud.pools().find(&compartment, "demo-media-pool")).unwrap();
    assert_eq!((found.id.as_str(), found.size), ("ocid1.instancepool.p", 2));
    let got = golden!("get_pool", |cloud| cloud.pools().pool(&pool));
    assert_eq!((got.lifecycle_state, got.etag.as_ref().unwrap().as_str()), (PoolState::Scaling, "e1"));
    let before = Etag::from("e0");
    golden!("resize_pool", |cloud| cloud.pools().resize(&pool, 3, Some(&before)));
    let members = golden!("list_members", |cloud| cloud.pools().members(&pool, &compartment));
    assert_eq!((&members[0].id, members[0].state), (&instance, InstanceState::Running));
    let how = Detach { decrement_size: true, terminate: false };
    golden!("detach", |cloud| cloud.pools().detach(&pool, &instance, how));
}

#[tokio::test]
async fn metrics() {
    let compartment = id("ocid1.c");
    let query = MetricQuery {
        compartment: &compartment,
        namespace: "oci_computeagent",
        query: "CpuUtilization[5m].mean()",
        start: at(),
        end: at(),
        resolution: Some("1m"),
    };
    let series = golden!("summarize", |cloud| cloud.monitoring().summarize(&query));
    assert_eq!(series[0].dimensions["resourceId"], "ocid1.instance.i");
    assert_eq!(series[0].points.iter().map(|point| point.value).collect::<Vec<_>>(), [7.0, 41.5]);
    let metric = NewMetric {
        compartment: &compartment,
        namespace: "sala",
        name: "load",
        dimensions: &BTreeMap::from([("node".to_owned(), "m1".to_owned())]),
        points: &[Point { at: at(), value: 0.5 }],
    };
    let posted = golden!("post_metrics", |cloud| cloud.monitoring().post(std::slice::from_ref(&metric)));
    assert_eq!((posted.failed_metrics_count, posted.reasons().next()), (1, Some("too old")));
}

#[tokio::test]
async fn functions() {
    let (compartment, application) = (id("ocid1.c"), id("ocid1.fnapp.a"));
    let all = golden!("list_applications", |cloud| cloud
        .functions()
        .applications(&compartment, Some("demo-scalein")));
    assert_eq!(all[0].lifecycle_state, FunctionState::Active);
    golden!("list_functions", |cloud| cloud.functions().functions(&application, Some("scalein")));
    let mut function = golden!("get_function", |cloud| cloud.functions().function(&id("ocid1.fnfunc.f")));
    assert_eq!(function.timeout_in_seconds, Some(60));
    let golden = Golden::new("invoke").await;
    function.invoke_endpoint = golden.service.url.clone();
    let invoke = golden.cloud.functions();
    let answer = invoke.invoke(&function, "application/json", r#"{"action":"sweep"}"#).await.unwrap();
    golden.assert_same();
    assert_eq!(&answer.body[..], br#"{"decision":"kept"}"#);
}

#[tokio::test]
async fn balancer() {
    let nlb = golden!("get_balancer", |cloud| cloud.balancers().get(&id("ocid1.networkloadbalancer.n")));
    assert_eq!(
        (nlb.lifecycle_state, nlb.public_ip()),
        (BalancerState::Active, Some(IpAddr::from([203, 0, 113, 7])))
    );
}
