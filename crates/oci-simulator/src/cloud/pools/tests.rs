//! How a pool grows, shrinks, heals and scales.

use super::*;
use crate::config;

const CONFIG: &str = r#"{"listen": "127.0.0.1:1", "adminListen": "127.0.0.1:2", "stateDir": "/tmp/x",
    "tenancy": {"id": "t", "namespace": "ns"},
    "delays": {"provisionSeconds": 30, "poolSeconds": 10, "stopSeconds": 5, "metricsLagSeconds": 60},
    "resources": {"pools": [{"displayName": "media", "size": 2, "instance": {},
        "autoscaling": {"max": 4, "threshold": 50, "pendingSeconds": 180, "coolDownSeconds": 300}}]}}"#;

fn at(seconds: u64) -> Now {
    Now { cloud: Duration::from_secs(seconds), unix_ms: seconds as i64 * 1000 }
}

fn running() -> Cloud {
    let config: config::Config = config::parse(CONFIG).unwrap();
    let mut cloud = Cloud::new(&config, at(0)).unwrap();
    for second in 0..60 {
        cloud.tick(at(second));
    }
    assert_eq!(pool(&cloud).state, State::Running);
    cloud
}

fn pool(cloud: &Cloud) -> &Pool {
    cloud.pools.find("media").unwrap()
}

#[test]
fn a_detached_instance_lives_on_and_the_pool_is_one_less() {
    let mut cloud = running();
    let (id, member) = (pool(&cloud).id.clone(), pool(&cloud).members[1].clone());
    cloud.detach(&id, &member, true, false, at(60)).unwrap();
    assert_eq!(pool(&cloud).state, State::Scaling);
    cloud.tick(at(61));
    let other = pool(&cloud).members[0].clone();
    assert_eq!(
        cloud.detach(&id, &other, true, false, at(61)).unwrap_err().status,
        409,
        "it is still scaling"
    );
    cloud.tick(at(100));
    assert_eq!((pool(&cloud).size, pool(&cloud).members.len()), (1, 1));
    assert_eq!(pool(&cloud).state, State::Running);
    let detached = cloud.compute.get(&member).unwrap();
    assert_eq!(detached.state, InstanceState::Running);
    assert_eq!(detached.pool, None);
}

#[test]
fn a_detached_instance_is_replaced_unless_the_size_goes_down_with_it() {
    let mut cloud = running();
    let (id, member) = (pool(&cloud).id.clone(), pool(&cloud).members[0].clone());
    cloud.detach(&id, &member, false, true, at(60)).unwrap();
    cloud.tick(at(61));
    assert_eq!(pool(&cloud).members.len(), 2);
    assert!(!pool(&cloud).members.contains(&member));
    assert!(cloud.compute.get(&member).unwrap().state.is_gone());
}

#[test]
fn a_terminated_member_is_replaced() {
    let mut cloud = running();
    let member = pool(&cloud).members[0].clone();
    let (settings, mut effects) = (cloud.settings.clone(), Vec::new());
    cloud.compute.terminate(&member, at(60), &settings, &mut effects).unwrap();
    cloud.tick(at(61));
    assert_eq!(pool(&cloud).members.len(), 2);
    assert_eq!(pool(&cloud).state, State::Scaling);
}

#[test]
fn a_smaller_size_ends_the_oldest() {
    let mut cloud = running();
    let oldest = pool(&cloud).members[0].clone();
    let id = pool(&cloud).id.clone();
    cloud.pools.all.get_mut(&id).unwrap().resize(1, at(70).cloud);
    cloud.tick(at(60));
    assert!(cloud.compute.get(&oldest).unwrap().state.is_gone());
}

#[test]
fn load_above_the_threshold_grows_the_pool_once_per_cool_down_up_to_its_maximum() {
    let mut cloud = running();
    let set = |cloud: &mut Cloud, percent| {
        for member in pool(cloud).members.clone() {
            cloud.metrics.set_cpu(&member, Some(percent));
        }
    };
    set(&mut cloud, 80.0);
    let mut grown = Vec::new();
    for second in 60..2400 {
        let before = pool(&cloud).size;
        set(&mut cloud, 80.0);
        cloud.tick(at(second));
        if pool(&cloud).size > before {
            grown.push(second);
        }
    }
    assert_eq!(pool(&cloud).size, 4, "no more than the maximum");
    assert_eq!(grown.len(), 2);
    assert!(grown[0] >= 60 + 180, "pending: {grown:?}");
    assert!(grown[1] >= grown[0] + 300, "cool-down: {grown:?}");
    set(&mut cloud, 1.0);
    for second in 2400..4000 {
        cloud.tick(at(second));
    }
    assert_eq!(pool(&cloud).size, 4, "it never shrinks by itself");
}
