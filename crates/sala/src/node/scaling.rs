//! A master that takes part in scaling the pool of media nodes: what [`oci::scaling`] wants to know of the cluster.

use std::convert::Infallible;
use std::time::Duration;

use cluster::runtime::Master;
use cluster::status::Health;
use cluster::{NodeId, OCI_INSTANCE, Role};
use oci::drain_watch::state::DEADLINE;
use oci::scaling::masters::{Cluster, Masters, Pace, Place};
use oci::scaling::wire::NodeLoad;
use oci::{Cloud, Imds, Ocid};

/// Between two tries to find out where this machine is.
const RETRY: Duration = Duration::from_secs(30);

/// Takes part for ever. A cloud that does not answer is asked again: scaling must not hinder serving.
pub(super) async fn run(master: Master, me: NodeId, cluster: String, pace: Pace) -> Infallible {
    loop {
        match start(&master, &me, &cluster, pace).await {
            Ok(masters) => match masters.run().await {},
            Err(error) => tracing::warn!(error = format!("{error:#}"), "no scaling yet; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn start(master: &Master, me: &NodeId, cluster: &str, pace: Pace) -> anyhow::Result<Masters<Registry>> {
    let imds = Imds::from_env()?;
    let place = Place::read(&imds).await?;
    let cloud = Cloud::on_instance(&imds).await?;
    let registry = Registry { master: master.clone(), me: me.clone(), cluster: cluster.to_owned() };
    Ok(Masters::new(cloud, imds, registry, me.0.clone(), place, pace))
}

/// What this master sees.
struct Registry {
    master: Master,
    me: NodeId,
    cluster: String,
}

impl Cluster for Registry {
    fn media_nodes(&self) -> Option<Vec<NodeLoad>> {
        let known = self.master.has_store() && self.master.view(|view| view.is_complete());
        if !known {
            return None;
        }
        let status = self.master.report(&self.cluster, 0, 0);
        let alive = status
            .nodes
            .into_iter()
            .filter(|node| node.record.roles.contains(&Role::Media) && node.health != Health::Dead);
        let nodes = alive.map(|node| {
            let load = node.record.load;
            let claimed = self.master.view(|view| view.rooms_on(&node.record.id)) as u32;
            NodeLoad {
                instance_id: node.record.labels.get(OCI_INSTANCE).map(|id| Ocid::new(id.as_str())),
                rooms: load.rooms.max(claimed),
                participants: load.clients,
                cpu: f64::from(load.cpu).clamp(0.0, 1.0),
                draining: node.drain.is_some(),
            }
        });
        Some(nodes.collect())
    }

    fn refused_rooms(&self) -> u64 {
        self.master.refused_rooms()
    }

    fn is_first(&self) -> bool {
        let status = self.master.report(&self.cluster, 0, 0);
        let masters = status
            .nodes
            .iter()
            .filter(|node| node.record.roles.contains(&Role::Master) && node.health == Health::Alive);
        masters.map(|node| &node.record.id).min() == Some(&self.me)
    }

    async fn drain(&self, instance: &Ocid) -> Result<(), String> {
        let label = |id: &str| id == instance.as_str();
        let node = self.master.view(|view| {
            let mut nodes = view.nodes();
            let found =
                nodes.find(|(_, entry)| entry.record.labels.get(OCI_INSTANCE).is_some_and(|id| label(id)));
            found.map(|(id, _)| id.clone())
        });
        let node = node.ok_or("no node says that it is on this instance")?;
        self.master.drain(node, DEADLINE, "cloud").await.map_err(|error| error.to_string())
    }
}
