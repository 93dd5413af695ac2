//! Network load balancers, as the API shows them. Their sockets are outside.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Cloud, Effect};
use crate::config;

pub(crate) struct Balancer {
    pub(crate) id: String,
    pub(crate) compartment: String,
    pub(crate) config: config::Balancer,
    pub(crate) created_unix_ms: i64,
    /// CREATING, without an address, before.
    pub(crate) active_from: Duration,
    is_open: bool,
    /// Names of backends that answer the health check.
    pub(crate) healthy: Vec<String>,
}

impl Balancer {
    pub(crate) fn is_active(&self, now: Duration) -> bool {
        self.active_from <= now
    }
}

/// All of them, by OCID.
#[derive(Default)]
pub(crate) struct Balancers {
    pub(crate) all: BTreeMap<String, Balancer>,
}

impl Balancers {
    pub(crate) fn create(
        &mut self,
        (id, compartment): (String, String),
        config: config::Balancer,
        created_unix_ms: i64,
        active_from: Duration,
    ) {
        let healthy = Vec::new();
        let balancer = Balancer {
            id: id.clone(),
            compartment,
            config,
            created_unix_ms,
            active_from,
            is_open: false,
            healthy,
        };
        self.all.insert(id, balancer);
    }
}

impl Cloud {
    pub(super) fn tick_balancers(&mut self, now: Duration) {
        for balancer in self.balancers.all.values_mut() {
            if !balancer.is_open && balancer.is_active(now) {
                balancer.is_open = true;
                self.effects.push(Effect::OpenBalancer(balancer.id.clone()));
            }
        }
    }
}
