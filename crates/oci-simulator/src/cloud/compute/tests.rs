//! An instance's life.

use super::*;
use crate::config;

fn settings() -> Settings {
    let text = r#"{"listen": "127.0.0.1:1", "adminListen": "127.0.0.1:2", "stateDir": "/tmp/x",
        "tenancy": {"id": "t", "namespace": "ns"},
        "delays": {"provisionSeconds": 30, "stopSeconds": 5, "softStopSeconds": 900}}"#;
    let config: config::Config = config::parse(text).unwrap();
    Settings::new(&config)
}

fn at(seconds: u64) -> Now {
    Now { cloud: Duration::from_secs(seconds), unix_ms: 0 }
}

fn launched() -> (Compute, Settings) {
    let (mut compute, settings) = (Compute::default(), settings());
    let machine: Machine = config::parse(r#"{"freeformTags": {"a": "1"}}"#).unwrap();
    let private_ip = compute.free_address(&settings).unwrap();
    let launch = Launch {
        id: "i".into(),
        display_name: "one".into(),
        compartment: "c".into(),
        machine,
        private_ip,
        pool: None,
    };
    compute.launch(launch, at(0), &settings);
    (compute, settings)
}

#[test]
fn it_runs_after_its_time_and_stops_at_the_button_or_when_the_power_goes() {
    let (mut compute, settings) = launched();
    let mut effects = Vec::new();
    compute.tick(at(29), &mut effects);
    assert_eq!(compute.get("i").unwrap().state.name(), "PROVISIONING");
    compute.tick(at(30), &mut effects);
    assert_eq!(effects, [Effect::PowerOn("i".into())]);
    effects.clear();

    compute.act("i", Action::SoftStop, at(40), &settings, &mut effects).unwrap();
    assert_eq!(effects, [Effect::PressButton("i".into())]);
    assert_eq!(compute.act("i", Action::Stop, at(41), &settings, &mut effects).unwrap_err().status, 409);
    compute.machine_ended("i", at(50), &settings, false);
    assert_eq!(compute.get("i").unwrap().state, State::Stopped);

    compute.act("i", Action::Start, at(60), &settings, &mut effects).unwrap();
    compute.tick(at(65), &mut effects);
    compute.act("i", Action::SoftStop, at(70), &settings, &mut effects).unwrap();
    effects.clear();
    compute.tick(at(970), &mut effects);
    assert_eq!(effects, [Effect::PowerOff("i".into())], "it hung");
    assert_eq!(compute.get("i").unwrap().state, State::Stopped);
}

#[test]
fn a_terminated_instance_frees_its_address_and_is_listed_for_a_while() {
    let (mut compute, settings) = launched();
    let mut effects = Vec::new();
    let address = compute.get("i").unwrap().private_ip;
    compute.terminate("i", at(10), &settings, &mut effects).unwrap();
    assert_eq!(effects, [Effect::PowerOff("i".into())]);
    assert_ne!(compute.free_address(&settings), Some(address));
    assert!(compute.terminate("i", at(11), &settings, &mut effects).is_err());
    compute.tick(at(15), &mut effects);
    assert_eq!(compute.get("i").unwrap().state.name(), "TERMINATED");
    assert_eq!(compute.free_address(&settings), Some(address));
    compute.tick(at(15 + 7200), &mut effects);
    assert!(compute.get("i").is_none());
}

#[test]
fn tags_show_in_the_metadata_later_than_in_the_api() {
    let (mut compute, _) = launched();
    let tags = BTreeMap::from([("a".to_owned(), "2".to_owned())]);
    let instance = compute.get_mut("i").unwrap();
    instance.set_tags(tags, at(20).cloud, at(10).cloud);
    assert_eq!(instance.freeform_tags()["a"], "2");
    assert_eq!(instance.imds_tags(at(19).cloud)["a"], "1");
    assert_eq!(instance.imds_tags(at(20).cloud)["a"], "2");
}

#[test]
fn a_killed_machine_still_runs_for_the_api() {
    let (mut compute, settings) = launched();
    let mut effects = Vec::new();
    compute.tick(at(30), &mut effects);
    compute.get_mut("i").unwrap().power = Power::Dead;
    compute.machine_ended("i", at(31), &settings, false);
    assert_eq!(compute.get("i").unwrap().state, State::Running);
}
