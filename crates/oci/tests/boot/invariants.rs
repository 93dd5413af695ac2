//! What must hold after every story.

use std::collections::BTreeMap;

use crate::world::{GENERATION, Outcome, World};

/// How many seeds a test tries.
pub(crate) fn seeds(least: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("SALA_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..wanted.unwrap_or(least)
}

/// All have booted, into one cluster, and agree with the Vault.
pub(crate) fn one_cluster(world: &World, outcome: &Outcome, machines: &[usize], seed: u64) {
    for machine in machines {
        let last = world.lines(*machine).into_iter().rev().take(6).collect::<Vec<_>>().join("\n");
        assert!(
            outcome.succeeded.contains(machine),
            "seed {seed}: machine {machine} did not boot: {:?}\n{last}",
            outcome.failures
        );
        assert!(world.node_starts(*machine) > 0, "seed {seed}: machine {machine} does not run");
        let progress: serde_json::Value =
            serde_json::from_str(&world.file(*machine, "/var/lib/sala/boot.json")).unwrap();
        assert_eq!(progress["step"], "done", "seed {seed}");
        same_secrets(world, *machine, seed);
    }
    let masters: Vec<usize> = machines.iter().copied().filter(|machine| *machine <= 4).collect();
    for pair in masters.windows(2) {
        for path in ["/opt/openvidu/config/openvidu.env", "/opt/openvidu/config/meet.env", "/etc/sala/ca.key"]
        {
            assert_eq!(world.file(pair[0], path), world.file(pair[1], path), "seed {seed}: {path}");
        }
    }
    assert_eq!(world.vault_value("ALL_SECRETS_GENERATED").as_deref(), Some(GENERATION), "seed {seed}");
    let state = world.state.borrow();
    assert_eq!(state.etcd.clusters_formed, 1, "seed {seed}");
    assert_eq!(state.etcd.member_count(), 4, "seed {seed}");
    assert!(state.etcd.all_run(), "seed {seed}");
    assert!(state.etcd.users.is_some(), "seed {seed}");
    for (path, (_, mode)) in &state.machines[&machines[0]].files {
        let open = ["boot.json", "etcd.env", "etcd.cluster", "ca.pem", "certificate.pem"];
        let is_open = open.iter().any(|name| path.ends_with(name));
        assert_eq!(*mode, if is_open { 0o644 } else { 0o600 }, "{path}");
    }
}

/// What the machine runs with is what the Vault has now.
pub(crate) fn same_secrets(world: &World, machine: usize, seed: u64) {
    let vault = |name: &str| world.vault_value(name).unwrap_or_else(|| panic!("seed {seed}: no {name}"));
    let config = world.file(machine, "/etc/sala/sala.yaml");
    assert!(config.contains(&format!("  id: \"{}\"\n", vault("SALA_CLUSTER_ID"))), "seed {seed}: {config}");
    let keys = format!("{}: \"{}\"\n", vault("LIVEKIT_API_KEY"), vault("LIVEKIT_API_SECRET"));
    let same = [
        ("/etc/sala/keys.yaml", keys),
        ("/etc/sala/ca.pem", vault("SALA_CLUSTER_CA_CERTIFICATE")),
        ("/etc/sala/ca.key", vault("SALA_CLUSTER_CA_KEY")),
        ("/etc/sala/store-password", vault("SALA_STORE_PASSWORD")),
    ];
    for (path, expected) in same {
        assert_eq!(world.file(machine, path), expected, "seed {seed}: machine {machine}, {path}");
    }
    if machine <= 4 {
        let environment: BTreeMap<String, String> = world
            .file(machine, "/opt/openvidu/config/openvidu.env")
            .lines()
            .filter_map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
            .collect();
        for name in ["OPENVIDU_URL", "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"] {
            assert_eq!(environment[name], vault(name), "seed {seed}: machine {machine}, {name}");
        }
    }
}
