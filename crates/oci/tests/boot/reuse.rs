//! A Vault that a former deployment has left its secrets in.

use crate::invariants::{one_cluster, seeds};
use crate::vault::SimState;
use crate::world::{Crash, Faults, State, World};

const ALL: [usize; 4] = [1, 2, 3, 4];

const OLD: [&str; 16] = [
    "DOMAIN_NAME",
    "OPENVIDU_URL",
    "LIVEKIT_URL",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "MEET_INITIAL_ADMIN_USER",
    "MEET_INITIAL_ADMIN_PASSWORD",
    "MEET_INITIAL_API_KEY",
    "SALA_MEET_SEED",
    "SALA_CLUSTER_ID",
    "SALA_CLUSTER_CA_CERTIFICATE",
    "SALA_CLUSTER_CA_KEY",
    "SALA_STORE_PASSWORD",
    "SALA_STORE_ROOT_PASSWORD",
    "SALA_SECRET_VERSIONS",
    "ALL_SECRETS_GENERATED",
];

fn old_value(name: &str) -> String {
    match name {
        "SALA_SECRET_VERSIONS" => "gen-1|LIVEKIT_API_SECRET=1".to_owned(),
        "ALL_SECRETS_GENERATED" => "gen-1".to_owned(),
        // Even what looks right.
        "LIVEKIT_API_SECRET" => "formerformerformerformerformerformerformer".to_owned(),
        _ => format!("former {name}"),
    }
}

/// A Vault as destroy and a new apply leave it.
fn used(world: &World) {
    let mut state = world.state.borrow_mut();
    let State { rng, vault, .. } = &mut *state;
    for name in OLD {
        let pending = rng.u32(0..3) == 0;
        let versions = if rng.u32(0..3) == 0 { rng.u64(25..=30) } else { rng.u64(1..5) };
        let state = if pending { SimState::PendingDeletion } else { SimState::Active };
        vault.seed(name, &old_value(name), versions, state);
    }
    for master in 1..=4 {
        vault.seed(
            &format!("MASTER_NODE_{master}_PRIVATE_IP"),
            &format!("gen-1|10.9.9.{master}"),
            3,
            SimState::Active,
        );
    }
}

#[test]
fn nothing_of_a_former_deployment_is_taken_for_ours() {
    for seed in seeds(300) {
        let faults = Faults { errors: 3, stalls: 3, lag_ms: 60_000 };
        let world = World::new(seed).with_delays().with_faults(faults);
        used(&world);
        world.add_media(5);
        let outcome = world.boot(&[1, 2, 3, 4, 5]);
        one_cluster(&world, &outcome, &[1, 2, 3, 4, 5], seed);
        for machine in [1, 2, 3, 4, 5] {
            let config = world.file(machine, "/etc/sala/sala.yaml");
            assert!(!config.contains("10.9.9.") && !config.contains("former"), "seed {seed}: {config}");
        }
        assert_eq!(world.vault_value("MEET_INITIAL_API_KEY").as_deref(), Some("(none)"), "seed {seed}");
    }
}

#[test]
fn a_used_vault_and_killed_masters() {
    for seed in seeds(200) {
        let world = World::new(seed).with_faults(Faults { errors: 2, stalls: 3, lag_ms: 30_000 });
        used(&world);
        for machine in ALL {
            let at = world.random(1..250);
            world.crash(machine, Crash { at, after: seed % 2 == 0, machine: false });
        }
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
    }
}

#[test]
fn old_versions_go_before_the_vault_refuses_the_thirty_first() {
    let world = World::new(1);
    world.state.borrow_mut().vault.seed("LIVEKIT_API_SECRET", "former", 30, SimState::Active);
    let outcome = world.boot(&ALL);
    one_cluster_lenient(&world, &outcome);
    let state = world.state.borrow();
    let versions = &state.vault.secrets["LIVEKIT_API_SECRET"].versions;
    assert_eq!(versions.iter().filter(|version| !version.deleted).count(), 30 - 23 + 1);
}

fn one_cluster_lenient(world: &World, outcome: &crate::world::Outcome) {
    assert_eq!(outcome.succeeded.len(), 4, "{:?}", outcome.failures);
    assert!(world.vault_value("LIVEKIT_API_SECRET").is_some_and(|value| value.len() == 44));
}

#[test]
fn an_own_key_is_used_and_none_is_made() {
    let world = World::new(2);
    world.set_on_masters("keyOcid", "ocid1.key.oc1..own");
    world.state.borrow_mut().keys.push((
        oci::boot::Key {
            id: "ocid1.key.oc1..own".to_owned(),
            state: "ENABLED".to_owned(),
            created: String::new(),
        },
        "theirs".to_owned(),
        0,
    ));
    let outcome = world.boot(&ALL);
    one_cluster(&world, &outcome, &ALL, 2);
    assert_eq!(world.state.borrow().keys.len(), 1);
}
