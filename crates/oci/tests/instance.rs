//! An instance signs in with its certificate, and stays signed in whatever happens to certificate, session and endpoint.

mod support;

use oci::principal::Principal;
use oci::{Cloud, Failure};
use serde_json::json;
use support::instance::{Identity, Surroundings, TENANCY};
use support::{QUICK, Reply, settings};

async fn cloud(surroundings: &Surroundings) -> Cloud {
    let settings = settings(&surroundings.service.url, QUICK);
    Cloud::new(Principal::instance(&surroundings.imds(), &settings).await.unwrap(), &settings)
}

#[tokio::test]
async fn one_session_serves_many_calls() {
    let surroundings = Surroundings::new().await;
    let cloud = cloud(&surroundings).await;
    assert_eq!((cloud.tenancy().as_str(), cloud.region().name()), (TENANCY, "eu-frankfurt-1"));
    // Nothing is asked of the federation endpoint before there is something to sign.
    assert_eq!(surroundings.federations(), 0);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let cloud = cloud.clone();
            tokio::spawn(async move { cloud.objects().namespace().await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "ns");
    }
    assert_eq!(surroundings.federations(), 1);
}

#[tokio::test]
async fn a_session_that_has_ended_is_replaced() {
    let surroundings = Surroundings::new().await;
    surroundings.change(|world| world.token = (-1200, -1));
    let cloud = cloud(&surroundings).await;
    cloud.objects().namespace().await.unwrap();
    surroundings.change(|world| world.token = (0, 1200));
    cloud.objects().namespace().await.unwrap();
    cloud.objects().namespace().await.unwrap();
    assert_eq!(surroundings.federations(), 2);
}

#[tokio::test]
async fn a_session_that_is_refused_before_its_end_is_replaced() {
    let surroundings = Surroundings::new().await;
    let cloud = cloud(&surroundings).await;
    cloud.objects().namespace().await.unwrap();
    surroundings.change(|world| world.revoke_sessions());
    cloud.objects().namespace().await.unwrap();
    assert_eq!(surroundings.federations(), 2);
}

#[tokio::test]
async fn a_good_session_outlives_a_fault_of_the_federation_endpoint() {
    let surroundings = Surroundings::new().await;
    // To be renewed at once, but good.
    surroundings.change(|world| world.token = (-1100, 100));
    let cloud = cloud(&surroundings).await;
    cloud.objects().namespace().await.unwrap();
    surroundings.change(|world| world.refuse = Some(Reply::error(503, "ServiceUnavailable")));
    cloud.objects().namespace().await.unwrap();
    assert!(surroundings.federations() > 1);
    surroundings.change(|world| (world.refuse, world.token) = (None, (0, 1200)));
    cloud.objects().namespace().await.unwrap();
    let renewed = surroundings.federations();
    cloud.objects().namespace().await.unwrap();
    assert_eq!(surroundings.federations(), renewed);
}

#[tokio::test]
async fn a_certificate_replaced_between_two_reads_is_read_again() {
    let surroundings = Surroundings::new().await;
    let cloud = cloud(&surroundings).await;
    let before = Identity::first().key;
    surroundings.change(|world| (world.identity, world.key_once) = (Identity::another(), Some(before)));
    cloud.objects().namespace().await.unwrap();
    assert_eq!(surroundings.federations(), 1);
}

#[tokio::test]
async fn an_identity_that_is_not_there_yet_is_waited_for() {
    let surroundings = Surroundings::new().await;
    surroundings.change(|world| world.absent = 2);
    cloud(&surroundings).await.objects().namespace().await.unwrap();
}

#[tokio::test]
async fn an_instance_that_is_not_let_in_is_told_what_to_check() {
    let surroundings = Surroundings::new().await;
    surroundings.change(|world| world.refuse = Some(Reply::error(401, "NotAuthenticated")));
    let error = cloud(&surroundings).await.objects().namespace().await.unwrap_err();
    assert!(matches!(error.failure(), Failure::Principal(_)) && !error.is_transient());
    let text = error.to_string();
    assert!(text.contains("X509Federation: 401") && text.contains("dynamic group"), "{text}");
}

#[tokio::test]
async fn metadata_is_read_as_it_is_now() {
    let surroundings = Surroundings::new().await;
    surroundings.change(|world| {
        world.metadata = json!({
            "instance": {
                "id": "ocid1.instance.oc1..i", "displayName": "demo-master-node-1", "compartmentId": "ocid1.c",
                "canonicalRegionName": "eu-frankfurt-1", "timeCreated": 1_795_521_600_123_u64, "shape": "s",
                "metadata": { "salaRole": "master", "odd": { "a": 1 } }, "agentConfig": {},
            },
            "vnics": [{ "vnicId": "ocid1.vnic.n", "privateIp": "10.0.1.5", "vlanTag": 0, "nicIndex": 0 }],
        });
    });
    let imds = surroundings.imds();
    let instance = imds.instance().await.unwrap();
    assert_eq!(instance.id.as_str(), "ocid1.instance.oc1..i");
    assert_eq!(instance.metadata()["odd"], r#"{"a":1}"#);
    assert_eq!(imds.metadata().await.unwrap()["salaRole"], "master");
    assert_eq!(imds.vnics().await.unwrap()[0].private_ip.to_string(), "10.0.1.5");
    assert!(imds.freeform_tags().await.unwrap().is_empty());
    surroundings
        .change(|world| world.metadata["instance"]["freeformTags"] = json!({ "sala-media-mode": "fixed" }));
    assert_eq!(imds.freeform_tags().await.unwrap()["sala-media-mode"], "fixed");
}

#[tokio::test]
async fn an_initial_password_in_the_metadata_shows_in_no_error() {
    let surroundings = Surroundings::new().await;
    surroundings.change(|world| world.metadata = json!({ "instance": "hunter2" }));
    let error = surroundings.imds().instance().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}
