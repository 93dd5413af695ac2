use std::net::SocketAddr;

use rtc::Proto;

use super::super::rooms::RoomKey;
use super::*;

fn path(port: u16) -> Path {
    let local = SocketAddr::from(([127, 0, 0, 1], 1));
    Path { proto: Proto::Udp, local, remote: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn owner(room: RoomKey, transport: u32) -> Owner {
    Owner { room, transport: TransportId(transport) }
}

#[test]
fn a_closed_transport_leaves_nothing_behind() {
    let mut routes = Routes::default();
    let a = owner(RoomKey::test(1), 1);
    routes.open(a, "u1".into());
    routes.open(a, "u2".into());
    routes.validated(a, path(5));
    assert_eq!((routes.by_ufrag("u1"), routes.by_path(&path(5))), (Some(a), Some(a)));
    assert_eq!(routes.close(a), [path(5)]);
    assert!(routes.by_path.is_empty() && routes.by_ufrag.is_empty() && routes.transports.is_empty());
}

#[test]
fn a_way_taken_over_by_a_new_transport_survives_the_end_of_the_old_one() {
    let mut routes = Routes::default();
    let [old, new] = [1, 2].map(|transport| owner(RoomKey::test(1), transport));
    routes.open(old, "old".into());
    routes.open(new, "new".into());
    routes.validated(old, path(5));
    routes.validated(new, path(5));
    assert!(routes.close(old).is_empty());
    assert_eq!(routes.by_path(&path(5)), Some(new));
}

#[test]
fn a_client_that_roams_for_ever_does_not_fill_the_tables() {
    let mut routes = Routes::default();
    let a = owner(RoomKey::test(1), 1);
    for round in 0..1_000 {
        routes.open(a, format!("u{round}"));
        routes.validated(a, path(round));
    }
    assert_eq!((routes.by_ufrag.len(), routes.by_path.len()), (MAX_UFRAGS, MAX_PATHS));
    assert_eq!(routes.by_path(&path(999)), Some(a));
}

#[test]
fn a_way_of_a_transport_that_is_closed_already_is_not_learnt() {
    let mut routes = Routes::default();
    routes.validated(owner(RoomKey::test(1), 1), path(5));
    assert_eq!(routes.by_path(&path(5)), None);
}

#[test]
fn the_end_of_a_room_takes_its_transports_and_no_others() {
    let mut routes = Routes::default();
    let [one, two] = [1, 2].map(RoomKey::test);
    for (room, transport) in [(one, 1), (one, 2), (two, 1)] {
        routes.open(owner(room, transport), format!("{room:?}{transport}"));
    }
    routes.close_room(one);
    assert_eq!(routes.len(), 1);
}
