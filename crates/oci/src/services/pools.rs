//! Instance pools: their size and their members.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;

use super::state::states;
use super::{Etag, InstanceState, Versioned};
use crate::endpoints::Service;
use crate::error::Error;
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};
use crate::wire_time;

/// Instance pools of the principal's region.
#[derive(Clone)]
pub struct InstancePools {
    api: Api,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstancePool {
    pub id: Ocid,
    #[serde(default)]
    pub display_name: String,
    pub compartment_id: Ocid,
    pub lifecycle_state: PoolState,
    /// The size it shall have.
    pub size: u32,
    #[serde(default)]
    pub freeform_tags: BTreeMap<String, String>,
}

states! {
    PoolState {
        Provisioning = "PROVISIONING",
        /// Grows or shrinks; other changes are refused with `IncorrectState` meanwhile.
        Scaling = "SCALING",
        Starting = "STARTING",
        Running = "RUNNING",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        Terminating = "TERMINATING",
        Terminated = "TERMINATED",
    }
}

/// An instance of a pool.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The instance's OCID.
    pub id: Ocid,
    #[serde(default)]
    pub display_name: String,
    pub state: InstanceState,
    #[serde(with = "wire_time::required")]
    pub time_created: SystemTime,
}

/// How an instance leaves its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detach {
    /// The pool shrinks by one; else it starts another instance.
    pub decrement_size: bool,
    /// The instance ends at once.
    pub terminate: bool,
}

impl InstancePools {
    pub(crate) fn new(api: Api) -> InstancePools {
        InstancePools { api }
    }

    pub async fn pool(&self, id: &Ocid) -> Result<Versioned<InstancePool>, Error> {
        self.api.versioned(Call::get("GetInstancePool", Service::Core, root(&[id]))).await
    }

    pub async fn list(
        &self,
        compartment: &Ocid,
        display_name: Option<&str>,
    ) -> Result<Vec<InstancePool>, Error> {
        let call = Call::get("ListInstancePools", Service::Core, root(&[]))
            .query("compartmentId", compartment)
            .query_if("displayName", display_name);
        self.api.list(call).await
    }

    /// The pool of this name that is not ended.
    pub async fn find(&self, compartment: &Ocid, display_name: &str) -> Result<Option<InstancePool>, Error> {
        let ended = |pool: &InstancePool| {
            matches!(pool.lifecycle_state, PoolState::Terminating | PoolState::Terminated)
        };
        let all = self.list(compartment, Some(display_name)).await?;
        Ok(all.into_iter().find(|pool| pool.display_name == display_name && !ended(pool)))
    }

    /// The size it shall have; `only` makes concurrent changes fail with 412 rather than overwrite each other.
    pub async fn resize(&self, id: &Ocid, size: u32, only: Option<&Etag>) -> Result<InstancePool, Error> {
        let call = Call::put("UpdateInstancePool", Service::Core, root(&[id]))
            .json(&json!({ "size": size }))
            .if_match(only.map(Etag::as_str));
        self.api.json(call).await
    }

    pub async fn members(&self, pool: &Ocid, compartment: &Ocid) -> Result<Vec<Member>, Error> {
        let call = Call::get("ListInstancePoolInstances", Service::Core, root(&[pool, "instances"]))
            .query("compartmentId", compartment);
        self.api.list(call).await
    }

    /// Starts the detachment; the member is listed until it has left.
    pub async fn detach(&self, pool: &Ocid, instance: &Ocid, how: Detach) -> Result<(), Error> {
        let body = json!({
            "instanceId": instance,
            "isDecrementSize": how.decrement_size,
            "isAutoTerminate": how.terminate,
        });
        let path = root(&[pool, "actions", "detachInstance"]);
        let call = Call::post("DetachInstancePoolInstance", Service::Core, path).json(&body).retry_token();
        self.api.send(call).await.map(drop)
    }
}

fn root(more: &[&str]) -> String {
    path(["20160918", "instancePools"].into_iter().chain(more.iter().copied()))
}
