//! The client against the simulated cloud: signatures are checked, policies are judged, resources take their time.

#[path = "support/simulator.rs"]
mod simulated;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use oci::services::{
    Condition, Etag, KeyState, NewKey, NewSecret, Protection, SecretState, SecretValue, VaultState,
};
use oci::{Cloud, Ocid, Patience};
use serde_json::json;
use simulated::{INSTANCE, Simulator, VAULT, compartment};

/// Until what was announced is there.
fn patient(cloud: &Cloud) -> Cloud {
    let within = Some(Duration::from_secs(60));
    cloud.patient(Patience { within, incorrect_state: true, propagation: true })
}

/// Asks again and again: what was written shows after a while.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_secret_from_its_key_to_its_deletion_and_back() {
    let may = ["manage vaults", "manage keys", "manage secret-family"];
    let simulator = Simulator::new("secrets", &may).await;
    let cloud = patient(&simulator.cloud().await);
    let (kms, secrets, none) = (cloud.kms(), cloud.secrets(), BTreeMap::new());
    let (compartment, vault_id) = (compartment(), Ocid::new(VAULT));

    // The vault's management endpoint does not answer at first: that is waited for.
    let vault = kms.vault(&vault_id).await.unwrap();
    assert_eq!(vault.lifecycle_state, VaultState::Active);
    let new = NewKey {
        compartment_id: &compartment,
        display_name: "demo-key",
        protection: Protection::Software,
        freeform_tags: &none,
    };
    let key = kms.create_key(&vault, &new).await.unwrap();
    let is_enabled = async || kms.key(&vault, &key.id).await.unwrap().lifecycle_state == KeyState::Enabled;
    until("the key", is_enabled).await;
    assert_eq!(kms.keys(&vault, &compartment).await.unwrap()[0].id, key.id);

    let value = SecretValue::from("first");
    let new = NewSecret {
        compartment_id: &compartment,
        vault_id: &vault_id,
        key_id: &key.id,
        secret_name: "A-SECRET",
        description: "a test's",
        value: &value,
        freeform_tags: &none,
    };
    let secret = secrets.create(&new).await.unwrap();
    assert_eq!(secrets.read_by_name(&vault_id, "A-SECRET").await.unwrap().value.text(), Some("first"));
    assert!(secrets.create(&new).await.unwrap_err().is_conflict());

    let before = secrets.get(&secret.id).await.unwrap().etag;
    secrets.update(&secret.id, &SecretValue::from("second"), before.as_ref()).await.unwrap();
    until("the version", async || secrets.versions(&secret.id).await.unwrap().len() == 2).await;
    let is_second = async || secrets.read(&secret.id).await.unwrap().value.text() == Some("second");
    until("the value", is_second).await;

    secrets.schedule_deletion(&secret.id, None).await.unwrap();
    let is_pending = async || {
        let found = secrets.find(&compartment, &vault_id, "A-SECRET").await.unwrap().unwrap();
        found.id == secret.id && found.lifecycle_state == SecretState::PendingDeletion
    };
    until("the deletion", is_pending).await;
    secrets.cancel_deletion(&secret.id).await.unwrap();
    until("the value again", is_second).await;
}

#[tokio::test]
async fn of_racers_for_an_object_one_wins_though_answers_are_lost() {
    let simulator = Simulator::new("objects", &["manage objects", "read buckets"]).await;
    let cloud = simulator.cloud().await;
    let (objects, bucket) = (cloud.objects(), simulator.bucket());
    assert_eq!(objects.namespace().await.unwrap(), "testns");
    objects.head_bucket(&bucket).await.unwrap();
    assert!(objects.find(&bucket, "lock").await.unwrap().is_none());

    // The first write is done, but nobody hears of it: its writer is the winner, and knows it.
    let lost = json!({ "operation": "PutObject", "times": 1, "fault": { "kind": "drop", "isDone": true } });
    simulator.fault(lost).await;
    let race = async |round: u32, before: Option<Etag>| {
        let racers = (0..8).map(|racer| {
            let (objects, bucket, before) = (objects.clone(), bucket.clone(), before.clone());
            tokio::spawn(async move {
                let condition = before.as_ref().map_or(Condition::Absent, Condition::Matches);
                objects.put(&bucket, "lock", "text/plain", format!("{round} {racer}"), condition).await
            })
        });
        let mut winners = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                Ok(etag) => winners.push(etag),
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        winners.remove(0)
    };
    let first = race(1, None).await;
    let second = race(2, Some(first.clone())).await;
    let (object, _date) = objects.find_dated(&bucket, "lock").await.unwrap().unwrap();
    assert_eq!(object.etag, second);
    assert!(objects.delete(&bucket, "lock", Some(&first)).await.unwrap_err().is_precondition_failed());
    assert!(objects.delete(&bucket, "lock", Some(&second)).await.unwrap());
    assert!(!objects.delete(&bucket, "lock", None).await.unwrap());

    let names: BTreeSet<_> = (0..7).map(|n| format!("keys/odd name+{n}?#é")).collect();
    for name in &names {
        objects.put(&bucket, name, "text/plain", name.clone(), Condition::Always).await.unwrap();
    }
    let listed: BTreeSet<_> =
        objects.list(&bucket, "keys/").await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(listed, names);
}

#[tokio::test]
async fn a_policy_that_has_not_propagated_is_waited_for_by_who_is_patient() {
    let simulator = Simulator::new("policy", &[]).await;
    let cloud = simulator.cloud().await;
    let instance = Ocid::new(INSTANCE);
    let error = cloud.compute().instance(&instance).await.unwrap_err();
    assert!(error.is_not_authorized() && error.attempts() == 1, "{error}");
    simulator.delays(json!({ "iamSeconds": 60.0, "membershipSeconds": 0.0 })).await;
    simulator.allow(&["read instance-family"]).await;
    assert_eq!(patient(&cloud).compute().instance(&instance).await.unwrap().display_name, "one");
    assert!(simulator.calls("GetInstance").await > 2);
}

#[tokio::test]
async fn tags_that_are_set_at_the_same_time_are_all_kept() {
    let simulator = Simulator::new("tags", &["manage instance-family", "use virtual-network-family"]).await;
    let cloud = simulator.cloud().await;
    let instance = Ocid::new(INSTANCE);
    let setters = (0..4).map(|n| {
        let (compute, instance) = (cloud.compute(), instance.clone());
        tokio::spawn(async move { compute.set_tag(&instance, &format!("tag-{n}"), "set").await })
    });
    for setter in setters.collect::<Vec<_>>() {
        setter.await.unwrap().unwrap();
    }
    let tags = cloud.compute().instance(&instance).await.unwrap().value.freeform_tags;
    assert_eq!(tags.len(), 5, "{tags:?}");
    let vnic = simulator.imds().await.vnics().await.unwrap().remove(0);
    let addresses = cloud.compute().addresses(&compartment(), &instance).await.unwrap().unwrap();
    assert_eq!(addresses.private, vnic.private_ip);
}
