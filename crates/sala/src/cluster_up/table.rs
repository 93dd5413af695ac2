//! The state of the cluster as plain text, for `sala cluster status`.

use std::fmt::Write as _;

use super::journal::clock;
use super::snapshot::{EtcdRole, ProcessLine, ProcessState, Snapshot};

/// Events that are shown.
const EVENTS: usize = 10;

/// For a terminal or a pipe.
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let leader = snapshot.store_leader.as_deref().unwrap_or("none");
    let _ = writeln!(
        text,
        "cluster {} at {}, up {} s, {} rooms, {} connections, etcd leader: {leader}\n",
        snapshot.cluster, snapshot.url, snapshot.up_s, snapshot.rooms_total, snapshot.connections
    );
    let _ = writeln!(
        text,
        "{:<8}{:<14}{:<14}{:>5}  {:<10}{:>5}  {:<12}{:>5}  FAULT",
        "MASTER", "ADDRESS", "SALA", "CPU", "BALANCER", "CONNS", "ETCD", "CPU"
    );
    for master in &snapshot.masters {
        let etcd = match (master.etcd.state, master.etcd_role) {
            (ProcessState::Running, EtcdRole::Leader) => "leader".into(),
            (ProcessState::Running, EtcdRole::Follower) => "follower".into(),
            (ProcessState::Running, EtcdRole::NoLeader) => "no leader".into(),
            (ProcessState::Running, EtcdRole::Silent) => "silent".into(),
            _ => process(&master.etcd),
        };
        let _ = writeln!(
            text,
            "{:<8}{:<14}{:<14}{:>4.0}%  {:<10}{:>5}  {:<12}{:>4.0}%  {}",
            master.name,
            master.address,
            process(&master.sala),
            master.sala.cpu_percent,
            if master.balanced { "in" } else { "out" },
            master.connections,
            etcd,
            master.etcd.cpu_percent,
            master.fault.as_deref().unwrap_or_default(),
        );
    }
    let _ = writeln!(
        text,
        "\n{:<8}{:<14}{:<14}{:>5}  {:>6}{:>9}{:>7}{:>7}{:>11}  FAULT",
        "MEDIA", "ADDRESS", "STATE", "CPU", "ROOMS", "CLIENTS", "IN", "OUT", "PACKETS/S"
    );
    for node in &snapshot.media {
        let state = match (node.sala.state, node.state.as_str()) {
            (ProcessState::Running, "") => "running".to_owned(),
            (ProcessState::Running, state) => match node.drain {
                Some((moved, left)) => format!("{state} {moved}/{}", moved + left),
                None => state.to_owned(),
            },
            _ => process(&node.sala),
        };
        let _ = writeln!(
            text,
            "{:<8}{:<14}{:<14}{:>4.0}%  {:>6}{:>9}{:>7}{:>7}{:>11}  {}",
            node.name,
            node.address,
            state,
            node.sala.cpu_percent,
            node.rooms,
            node.clients,
            node.tracks_in,
            node.tracks_out,
            node.packets_per_s,
            node.fault.as_deref().unwrap_or_default(),
        );
    }
    if !snapshot.events.is_empty() {
        let _ = writeln!(text);
    }
    for event in snapshot.events.iter().skip(snapshot.events.len().saturating_sub(EVENTS)) {
        let _ = writeln!(text, "{}  {}", clock(event.at_ms), event.text);
    }
    text
}

fn process(process: &ProcessLine) -> String {
    match process.state {
        ProcessState::Running => "running".into(),
        ProcessState::Stopped => "stopped".into(),
        ProcessState::Ended => process.end.clone().unwrap_or_else(|| "ended".into()),
        ProcessState::Absent => "-".into(),
    }
}
