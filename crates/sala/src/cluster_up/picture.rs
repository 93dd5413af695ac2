//! Puts together what the view and `sala cluster status` show.

use super::network::Fault;
use super::plan::{Host, Program};
use super::process::State;
use super::snapshot::{EtcdRole, MasterLine, MediaLine, ProcessLine, ProcessState, Snapshot};
use super::up::Up;
use cluster::status::{Health, NodeStatus};

impl Up {
    /// The state now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let seen = self.seen.borrow().clone();
        let cluster = seen.cluster.clone().unwrap_or_default();
        let hosts = self.plan.hosts.clone();
        let mut snapshot = Snapshot {
            cluster: self.plan.id.clone(),
            up_s: self.started.elapsed().as_secs(),
            url: format!("http://{}", self.plan.front_http),
            https_url: format!("https://{}", self.plan.front_https),
            namespaces: self.plan.namespaces,
            store_quorum: seen.cluster.as_ref().map(|cluster| cluster.store_quorum),
            store_leader: seen.leader().map(str::to_owned),
            rooms_total: cluster.rooms_total,
            rooms: cluster.rooms.clone(),
            connections: self.balancer.backends().iter().map(|backend| backend.connections()).sum(),
            retried: self.balancer.retried(),
            events: self.journal.lines().cloned().collect(),
            ..Snapshot::default()
        };
        for host in &hosts {
            let fault = self.fault(host);
            let sala = self.process(host, Program::Sala);
            let (name, address) = (host.name.clone(), host.address.to_string());
            if let Some(backend) = self.balancer.backends().iter().find(|backend| backend.name == host.name) {
                let etcd_role = match seen.members.get(&host.name) {
                    None => EtcdRole::Silent,
                    Some(member) if member.leads => EtcdRole::Leader,
                    Some(member) if member.has_leader => EtcdRole::Follower,
                    Some(_) => EtcdRole::NoLeader,
                };
                let (balanced, connections) = (backend.is_in(), backend.connections());
                let etcd = self.process(host, Program::Etcd);
                snapshot.masters.push(MasterLine {
                    name,
                    address,
                    sala,
                    etcd,
                    etcd_role,
                    balanced,
                    connections,
                    fault,
                });
            } else {
                let node = cluster.nodes.iter().find(|node| node.record.id.0 == host.name);
                snapshot.media.push(media(name, address, sala, node, fault));
            }
        }
        snapshot
    }

    fn fault(&self, host: &Host) -> Option<String> {
        Some(match self.network.as_ref()?.fault(&host.name)? {
            Fault::Partition { from } if from.is_empty() => "cut off".into(),
            Fault::Partition { from } => format!("cut off from {}", from.len()),
            Fault::Loss { percent } => format!("loss {percent} %"),
        })
    }

    fn process(&mut self, host: &Host, program: Program) -> ProcessLine {
        let name = super::plan::ProcessName { host: host.name.clone(), program };
        let Some((state, pid, _)) = self.processes.get(&name) else {
            return ProcessLine { state: ProcessState::Absent, pid: 0, cpu_percent: 0.0, end: None };
        };
        let state = match state {
            State::Running => ProcessState::Running,
            State::Stopped => ProcessState::Stopped,
            State::Ended => ProcessState::Ended,
        };
        let cpu_percent = if state == ProcessState::Ended { 0.0 } else { self.usage.percent(pid) };
        ProcessLine { state, pid, cpu_percent, end: self.processes.end_of(&name).map(str::to_owned) }
    }
}

fn media(
    name: String,
    address: String,
    sala: ProcessLine,
    node: Option<&NodeStatus>,
    fault: Option<String>,
) -> MediaLine {
    let load = node.map(|node| node.record.load).unwrap_or_default();
    let state = node.map_or("", |node| match (node.health, node.record.state) {
        (Health::Dead, _) => "dead",
        (Health::Suspect, _) => "suspect",
        (Health::Alive, cluster::NodeState::Draining) => "draining",
        (Health::Alive, cluster::NodeState::Serving) => "serving",
    });
    MediaLine {
        name,
        address,
        sala,
        state: state.into(),
        rooms: load.rooms,
        clients: load.clients,
        tracks_in: load.tracks_in,
        tracks_out: load.tracks_out,
        packets_per_s: load.packets_per_s,
        drain: node.and_then(|node| node.drain.as_ref()).map(|drain| (drain.rooms_moved, drain.rooms_left)),
        fault,
    }
}
