//! Network load balancers: the one public entry of a cluster.

use std::net::IpAddr;

use serde::Deserialize;

use super::state::states;
use crate::endpoints::Service;
use crate::error::Error;
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};

/// Network load balancers of the principal's region.
#[derive(Clone)]
pub struct NetworkLoadBalancers {
    api: Api,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkLoadBalancer {
    pub id: Ocid,
    pub display_name: String,
    pub lifecycle_state: BalancerState,
    #[serde(default)]
    pub ip_addresses: Vec<BalancerAddress>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancerAddress {
    /// None while it is being assigned.
    #[serde(default)]
    pub ip_address: Option<IpAddr>,
    #[serde(default)]
    pub is_public: bool,
}

states! {
    BalancerState {
        Creating = "CREATING",
        Updating = "UPDATING",
        Active = "ACTIVE",
        Deleting = "DELETING",
        Deleted = "DELETED",
        Failed = "FAILED",
    }
}

impl NetworkLoadBalancer {
    /// Its public IPv4 address, once it has one; else another public one.
    pub fn public_ip(&self) -> Option<IpAddr> {
        let public = || self.ip_addresses.iter().filter(|ip| ip.is_public).filter_map(|ip| ip.ip_address);
        public().find(IpAddr::is_ipv4).or_else(|| public().next())
    }
}

impl NetworkLoadBalancers {
    pub(crate) fn new(api: Api) -> NetworkLoadBalancers {
        NetworkLoadBalancers { api }
    }

    pub async fn get(&self, id: &Ocid) -> Result<NetworkLoadBalancer, Error> {
        let path = path(["20200501", "networkLoadBalancers", id]);
        self.api.json(Call::get("GetNetworkLoadBalancer", Service::NetworkLoadBalancer, path)).await
    }
}
