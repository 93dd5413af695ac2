//! What an operator does to a running cluster, and what boot says.

use crate::invariants::{one_cluster, same_secrets};
use crate::vault::SimState;
use crate::world::World;

const ALL: [usize; 4] = [1, 2, 3, 4];

fn running(seed: u64) -> World {
    let world = World::new(seed);
    let outcome = world.boot(&ALL);
    one_cluster(&world, &outcome, &ALL, seed);
    world
}

#[test]
fn a_restart_with_nothing_changed_writes_nothing() {
    let world = running(1);
    let (writes, config) = (world.state.borrow().vault.writes, world.file(1, "/etc/sala/sala.yaml"));
    for master in ALL {
        world.boot_once(master).unwrap();
    }
    assert_eq!(world.state.borrow().vault.writes, writes);
    assert_eq!(world.file(1, "/etc/sala/sala.yaml"), config);
}

#[test]
fn a_secret_changed_in_the_vault_applies_on_restart() {
    let world = running(2);
    world.edit("LIVEKIT_API_SECRET", "a-new-secret-of-at-least-32-characters");
    for master in ALL {
        world.boot_once(master).unwrap();
        same_secrets(&world, master, 2);
        let told = world
            .lines(master)
            .into_iter()
            .any(|line| line.contains("`systemctl restart sala.service` applies"));
        assert!(told, "{:?}", world.lines(master));
    }
}

#[test]
fn on_a_media_node_the_drain_watch_has_the_changed_secret_at_once() {
    let world = running(6);
    world.add_media(5);
    world.boot_once(5).unwrap();
    world.edit("SALA_STORE_PASSWORD", "a-new-password-of-the-store-0123456789");
    world.boot_once(5).unwrap();
    let lines = world.lines(5);
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(has("sala-drain-watch.service runs with the new configuration"), "{lines:?}");
    assert!(has("`systemctl restart sala.service` applies"), "{lines:?}");
}

#[test]
fn another_domain_moves_the_urls_in_files_and_vault() {
    let world = running(3);
    world.edit("DOMAIN_NAME", "meet.example.com");
    for master in ALL {
        world.boot_once(master).unwrap();
        same_secrets(&world, master, 3);
    }
    assert_eq!(world.vault_value("OPENVIDU_URL").as_deref(), Some("https://meet.example.com/"));
    assert_eq!(world.vault_value("LIVEKIT_URL").as_deref(), Some("wss://meet.example.com/"));
    let config = world.file(2, "/etc/sala/sala.yaml");
    assert!(config.contains("names: [\"meet.example.com\"]"), "{config}");
}

#[test]
fn initial_values_of_meet_seed_the_first_start_only() {
    let world = World::new(4);
    world.set_on_masters("initialMeetAdminPassword", "first");
    world.set_on_masters("initialMeetApiKey", "first-key");
    let outcome = world.boot(&ALL);
    one_cluster(&world, &outcome, &ALL, 4);
    world.edit("MEET_INITIAL_ADMIN_PASSWORD", "second");
    world.edit("MEET_INITIAL_API_KEY", "second-key");
    world.set_on_masters("initialMeetAdminPassword", "third");
    world.rebuild(1);
    for master in ALL {
        let outcome = world.boot(&[master]);
        assert!(outcome.succeeded.contains(&master), "{:?}", outcome.failures);
        assert_eq!(world.file(master, "/etc/sala/admin-password"), "first");
        let meet = world.file(master, "/opt/openvidu/config/meet.env");
        assert!(meet.contains("MEET_INITIAL_ADMIN_USER=admin\n"), "{meet}");
        assert!(meet.contains("MEET_INITIAL_ADMIN_PASSWORD=first\n"), "{meet}");
        assert!(meet.contains("MEET_INITIAL_API_KEY=first-key\n"), "{meet}");
    }
}

#[test]
fn nonsense_in_a_secret_stops_the_boot_and_leaves_the_last_good_configuration() {
    let world = running(5);
    let before: Vec<String> =
        ["/etc/sala/sala.yaml", "/etc/sala/keys.yaml", "/opt/openvidu/config/openvidu.env"]
            .map(|path| world.file(1, path))
            .into();
    world.edit("LIVEKIT_API_SECRET", "oops");
    let failure = world.boot_once(1).unwrap_err();
    assert!(failure.contains("LIVEKIT_API_SECRET") && failure.contains("32 to 256"), "{failure}");
    assert!(failure.contains("the last good configuration stays"), "{failure}");
    assert!(!failure.contains("oops"));
    let after: Vec<String> =
        ["/etc/sala/sala.yaml", "/etc/sala/keys.yaml", "/opt/openvidu/config/openvidu.env"]
            .map(|path| world.file(1, path))
            .into();
    assert_eq!(before, after);
    let progress = world.file(1, "/var/lib/sala/boot.json");
    assert!(progress.contains("LIVEKIT_API_SECRET"), "{progress}");
    // Mended, it goes on.
    world.edit("LIVEKIT_API_SECRET", "another-secret-of-at-least-32-characters");
    world.boot_once(1).unwrap();
    let resumed = world.lines(1).into_iter().any(|line| line.starts_with("the last boot failed"));
    assert!(resumed, "{:?}", world.lines(1));
}

#[test]
fn a_secret_that_was_deleted_by_mistake_comes_back() {
    let world = running(6);
    world.state.borrow_mut().vault.secrets.get_mut("LIVEKIT_API_KEY").unwrap().state =
        SimState::PendingDeletion;
    world.boot_once(3).unwrap();
    same_secrets(&world, 3, 6);
}

#[test]
fn another_store_password_is_given_to_the_store() {
    let world = running(7);
    world.edit("SALA_STORE_PASSWORD", "another-password-of-the-store");
    for master in ALL {
        world.boot_once(master).unwrap();
    }
    let users = world.state.borrow().etcd.users.clone().unwrap();
    assert_eq!(users.1, "another-password-of-the-store");
    world.edit("SALA_STORE_ROOT_PASSWORD", "another-password-of-root");
    let failure = world.boot_once(1).unwrap_err();
    assert!(failure.contains("SALA_STORE_ROOT_PASSWORD") && failure.contains("former version"), "{failure}");
}

#[test]
fn a_wait_says_what_since_when_until_when_and_what_to_check() {
    let world = World::new(8);
    let never = world.clock.now_ms() + 100 * 3_600_000;
    world.state.borrow_mut().policies_ms = never;
    let failure = world.boot_once(1).unwrap_err();
    assert!(
        failure.contains("access to the Vault") && failure.contains("dynamic groups and policies"),
        "{failure}"
    );
    let waits: Vec<String> = world
        .lines(1)
        .into_iter()
        .filter(|line| line.starts_with("waiting for access to the Vault"))
        .collect();
    // At once, then a reminder each minute of fifteen.
    assert!((10..=16).contains(&waits.len()), "{waits:#?}");
    for part in ["404 NotAuthorizedOrNotFound", "since ", "until ", "check: the stack's dynamic groups"] {
        assert!(waits[0].contains(part), "{}", waits[0]);
    }
}

#[test]
fn with_a_configuration_to_go_on_with_nobody_waits_long_for_a_vault_that_is_away() {
    let world = running(9);
    let begin = world.clock.now_ms();
    world.state.borrow_mut().policies_ms = begin + 100 * 3_600_000;
    world.boot_once(2).unwrap_err();
    assert!(world.clock.now_ms() - begin < 150_000);
}

#[test]
fn the_balancers_address_itself_by_a_flag() {
    let world = World::new(10);
    world.set_on_masters("additionalInstallFlags", "--certificate-for=ip, --log-level=debug");
    let outcome = world.boot(&ALL);
    one_cluster(&world, &outcome, &ALL, 10);
    let environment = world.file(1, "/opt/openvidu/config/openvidu.env");
    assert!(environment.contains("LIVEKIT_URL=wss://203.0.113.7/\n"), "{environment}");
    assert!(world.file(1, "/etc/sala/sala.yaml").contains("level: \"debug\""));
}

#[test]
fn bad_metadata_stops_at_once_and_says_what_to_correct() {
    let world = World::new(11);
    world.set(1, "additionalInstallFlags", "--turn-domain-name=turn.example.com");
    let failure = world.boot_once(1).unwrap_err();
    assert!(
        failure.contains("additionalInstallFlags") && failure.contains("--turn-domain-name"),
        "{failure}"
    );
}

#[test]
fn the_other_engine_is_accepted_with_a_line_that_says_what_it_means() {
    let world = World::new(12);
    world.set_on_masters("rtcEngine", "mediasoup");
    let outcome = world.boot(&ALL);
    one_cluster(&world, &outcome, &ALL, 12);
    let lines = world.lines(1);
    assert_eq!(lines.iter().filter(|line| line.contains("mediasoup")).count(), 1, "{lines:?}");
}
