//! The store's member beside a master: how it comes into the cluster, decided from what the others say. No I/O.

use std::net::Ipv4Addr;

use super::host::Member;

pub const CLIENT_PORT: u16 = 2379;
pub const PEER_PORT: u16 = 2380;

/// Between two heartbeats of the leader. Availability domains are less than 2 ms apart.
const HEARTBEAT_MS: u32 = 100;
/// Silence after which members elect a new leader.
const ELECTION_MS: u32 = 1000;
/// Cost of hashing passwords: the least there is. Ours are random and cannot be guessed, while at etcd's default a
/// log-in takes 100 ms of a core, and all nodes log in at once when a member dies.
const BCRYPT_COST: u32 = 4;

/// A master as a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub name: String,
    pub address: Ipv4Addr,
}

impl Seat {
    pub fn peer_url(&self) -> String {
        format!("https://{}:{PEER_PORT}", self.address)
    }

    pub fn client_url(&self) -> String {
        format!("https://{}:{CLIENT_PORT}", self.address)
    }
}

/// What is known when the member is to start.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub seat: &'a Seat,
    /// All masters of the deployment.
    pub seats: &'a [Seat],
    /// This machine has a member's data.
    pub has_data: bool,
    /// The cluster was formed once: a new one must never begin beside it.
    pub formed: bool,
    /// The members as another one tells them that knows a leader. `None`: none of them answers.
    pub members: Option<&'a [Member]>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the member with this `initial-cluster` in this `initial-cluster-state`.
    Start { cluster: String, state: &'static str },
    /// Take our former member out; its data is gone.
    Remove { id: u64 },
    /// Put us in.
    Add,
    /// The data here is of a member that was taken out.
    SetDataAside,
    /// The others must answer first.
    Wait,
}

/// Decides. Called again after each action that is not [`Action::Start`].
pub fn decide(situation: Situation<'_>) -> Action {
    let Situation { seat, seats, has_data, formed, members } = situation;
    let new = || {
        let all: Vec<String> =
            seats.iter().map(|seat| format!("{}={}", seat.name, seat.peer_url())).collect();
        Action::Start { cluster: all.join(","), state: "new" }
    };
    let Some(members) = members else {
        return match (has_data, formed) {
            // It knows its cluster from its data; what is configured does not count.
            (true, _) | (false, false) => new(),
            (false, true) => Action::Wait,
        };
    };
    let ours = |member: &&Member| member.name == seat.name || member.peer_urls.contains(&seat.peer_url());
    match (members.iter().find(ours), has_data) {
        (Some(member), true) if member.peer_urls.contains(&seat.peer_url()) => new(),
        (_, true) => Action::SetDataAside,
        (None, false) => Action::Add,
        (Some(member), false) if !member.has_started() && member.peer_urls.contains(&seat.peer_url()) => {
            Action::Start { cluster: initial_cluster(members, seat), state: "existing" }
        }
        (Some(member), false) => Action::Remove { id: member.id },
    }
}

/// As the running members see it. One that has not started has no name yet; only ours is known.
fn initial_cluster(members: &[Member], seat: &Seat) -> String {
    let entries = members.iter().flat_map(|member| {
        let ours = member.peer_urls.contains(&seat.peer_url());
        let name = if ours { seat.name.clone() } else { member.name.clone() };
        member.peer_urls.iter().map(move |url| format!("{name}={url}"))
    });
    entries.filter(|entry| !entry.starts_with('=')).collect::<Vec<_>>().join(",")
}

/// The member's settings, as `/etc/sala/etcd.env`. Paths are those of the machine.
pub fn environment(seat: &Seat, cluster: &str, cluster_id: &str, state: &str, paths: &Paths) -> String {
    let client = seat.client_url();
    let peer = seat.peer_url();
    let settings = [
        ("NAME", seat.name.as_str()),
        ("DATA_DIR", &paths.data),
        ("LISTEN_PEER_URLS", &peer),
        ("INITIAL_ADVERTISE_PEER_URLS", &peer),
        ("LISTEN_CLIENT_URLS", &client),
        ("ADVERTISE_CLIENT_URLS", &client),
        ("INITIAL_CLUSTER", cluster),
        ("INITIAL_CLUSTER_STATE", state),
        ("INITIAL_CLUSTER_TOKEN", cluster_id),
        ("HEARTBEAT_INTERVAL", &HEARTBEAT_MS.to_string()),
        ("ELECTION_TIMEOUT", &ELECTION_MS.to_string()),
        ("BCRYPT_COST", &BCRYPT_COST.to_string()),
        ("AUTO_COMPACTION_MODE", "periodic"),
        ("AUTO_COMPACTION_RETENTION", "1h"),
        ("LOGGER", "zap"),
        ("LOG_LEVEL", "warn"),
        ("PRE_VOTE", "true"),
        ("STRICT_RECONFIG_CHECK", "true"),
        ("CERT_FILE", &paths.certificate),
        ("KEY_FILE", &paths.key),
        ("TRUSTED_CA_FILE", &paths.authority),
        ("CLIENT_CERT_AUTH", "true"),
        ("PEER_CERT_FILE", &paths.certificate),
        ("PEER_KEY_FILE", &paths.key),
        ("PEER_TRUSTED_CA_FILE", &paths.authority),
        ("PEER_CLIENT_CERT_AUTH", "true"),
    ];
    let mut text = "# Written by `sala oci boot` at each start.\n".to_owned();
    for (name, value) in settings {
        text.push_str(&format!("ETCD_{name}={value}\n"));
    }
    text
}

/// Where the member's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    pub data: String,
    pub certificate: String,
    pub key: String,
    pub authority: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats() -> Vec<Seat> {
        (1..=4)
            .map(|n| Seat { name: format!("acme-master-node-{n}"), address: Ipv4Addr::new(10, 0, 0, n) })
            .collect()
    }

    fn member(seat: &Seat, id: u64) -> Member {
        Member {
            id,
            name: seat.name.clone(),
            peer_urls: vec![seat.peer_url()],
            client_urls: vec![seat.client_url()],
        }
    }

    fn decide_with(has_data: bool, formed: bool, members: Option<&[Member]>) -> Action {
        let seats = seats();
        decide(Situation { seat: &seats[1], seats: &seats, has_data, formed, members })
    }

    #[test]
    fn the_first_start_forms_one_cluster_of_all_four() {
        let Action::Start { cluster, state } = decide_with(false, false, None) else { panic!() };
        assert_eq!(state, "new");
        assert_eq!(cluster.matches("https://10.0.0.").count(), 4);
        assert!(cluster.starts_with("acme-master-node-1=https://10.0.0.1:2380,"));
    }

    #[test]
    fn who_comes_last_joins_the_cluster_that_the_others_began_with_it() {
        let mut members: Vec<Member> = seats().iter().zip(1..).map(|(seat, id)| member(seat, id)).collect();
        members[1].client_urls.clear();
        let action = decide_with(false, false, Some(&members));
        assert!(matches!(action, Action::Start { state: "existing", .. }), "{action:?}");
    }

    #[test]
    fn a_restart_goes_on_with_its_data_whether_the_others_answer_or_not() {
        let members: Vec<Member> = seats().iter().zip(1..).map(|(seat, id)| member(seat, id)).collect();
        assert!(matches!(decide_with(true, true, None), Action::Start { .. }));
        assert!(matches!(decide_with(true, true, Some(&members)), Action::Start { .. }));
    }

    #[test]
    fn a_rebuilt_master_takes_its_old_member_out_and_itself_in() {
        let mut members: Vec<Member> = seats().iter().zip(1..).map(|(seat, id)| member(seat, id)).collect();
        assert_eq!(decide_with(false, true, Some(&members)), Action::Remove { id: 2 });
        members.remove(1);
        assert_eq!(decide_with(false, true, Some(&members)), Action::Add);
        members.push(Member {
            id: 9,
            name: String::new(),
            peer_urls: vec![seats()[1].peer_url()],
            client_urls: Vec::new(),
        });
        let Action::Start { cluster, state } = decide_with(false, true, Some(&members)) else { panic!() };
        assert_eq!(state, "existing");
        assert!(cluster.ends_with("acme-master-node-2=https://10.0.0.2:2380"), "{cluster}");
    }

    #[test]
    fn a_rebuilt_master_never_begins_a_second_cluster() {
        assert_eq!(decide_with(false, true, None), Action::Wait);
    }

    #[test]
    fn a_rebuilt_master_with_another_address_replaces_the_old_member_too() {
        let mut members: Vec<Member> = seats().iter().zip(1..).map(|(seat, id)| member(seat, id)).collect();
        members[1].peer_urls = vec!["https://10.0.0.99:2380".into()];
        assert_eq!(decide_with(false, true, Some(&members)), Action::Remove { id: 2 });
        assert_eq!(decide_with(true, true, Some(&members)), Action::SetDataAside);
    }

    #[test]
    fn data_of_a_member_that_was_taken_out_is_set_aside() {
        let members: Vec<Member> = seats().iter().zip(1..).map(|(seat, id)| member(seat, id)).collect();
        assert_eq!(decide_with(true, true, Some(&members[2..])), Action::SetDataAside);
    }
}
