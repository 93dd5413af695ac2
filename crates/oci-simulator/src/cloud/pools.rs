//! Instance pools: a size, and the instances that make it up. What is missing is launched, also in the place of a
//! member that was terminated; what is too much goes, the oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::compute::{Launch, State as InstanceState};
use super::{Cloud, Now};
use crate::api::Refusal;
use crate::config::{Autoscaling, Machine};
use crate::ocid;

/// Instances of a pool, whatever it is asked for.
pub(crate) const MAX_SIZE: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Provisioning,
    Scaling,
    Running,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Provisioning => "PROVISIONING",
            State::Scaling => "SCALING",
            State::Running => "RUNNING",
        }
    }
}

pub(crate) struct Pool {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) compartment: String,
    pub(crate) configuration: String,
    pub(crate) freeform_tags: BTreeMap<String, String>,
    /// How many there should be.
    pub(crate) size: usize,
    /// OCIDs, in the order of their launch.
    pub(crate) members: Vec<String>,
    pub(crate) state: State,
    pub(crate) created_unix_ms: i64,
    pub(crate) etag: String,
    pub(crate) autoscaling: Option<Autoscaling>,
    pub(crate) rule: super::autoscale::Rule,
    template: Machine,
    /// Not RUNNING before.
    busy_until: Duration,
    launched: u64,
}

/// A pool to make.
pub(crate) struct NewPool {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) compartment: String,
    pub(crate) freeform_tags: BTreeMap<String, String>,
    pub(crate) size: usize,
    pub(crate) template: Machine,
    pub(crate) autoscaling: Option<Autoscaling>,
}

/// All of them, by OCID.
#[derive(Default)]
pub(crate) struct Pools {
    pub(crate) all: BTreeMap<String, Pool>,
}

impl Pools {
    pub(crate) fn find(&self, name: &str) -> Option<&Pool> {
        self.all.get(name).or_else(|| self.all.values().find(|pool| pool.display_name == name))
    }

    pub(crate) fn create(&mut self, new: NewPool, now: Now, region_key: &str) {
        let pool = Pool {
            configuration: ocid::named("instanceconfiguration", region_key, &new.display_name),
            id: new.id.clone(),
            display_name: new.display_name,
            compartment: new.compartment,
            freeform_tags: new.freeform_tags,
            size: new.size.min(MAX_SIZE),
            members: Vec::new(),
            state: State::Provisioning,
            created_unix_ms: now.unix_ms,
            etag: ocid::uuid(),
            autoscaling: new.autoscaling,
            rule: super::autoscale::Rule::default(),
            template: new.template,
            busy_until: now.cloud,
            launched: 0,
        };
        self.all.insert(new.id, pool);
    }
}

impl Pool {
    /// # Errors
    /// 409 in the middle of a change.
    pub(crate) fn must_be_running(&self) -> Result<(), Refusal> {
        if self.state == State::Running {
            return Ok(());
        }
        let text = format!("The instance pool is {}, but must be RUNNING.", self.state.name());
        Err(Refusal::incorrect_state(text))
    }

    /// Asks for another size.
    pub(crate) fn resize(&mut self, size: usize, until: Duration) {
        if size == self.size {
            return;
        }
        self.size = size.min(MAX_SIZE);
        self.touch(until);
    }

    /// A change begins that takes until then at least.
    fn touch(&mut self, until: Duration) {
        if self.state == State::Running {
            self.state = State::Scaling;
        }
        self.busy_until = self.busy_until.max(until);
        self.etag = ocid::uuid();
    }
}

impl Cloud {
    pub(super) fn tick_pools(&mut self, now: Now) {
        let ids: Vec<String> = self.pools.all.keys().cloned().collect();
        for id in ids {
            self.tick_pool(&id, now);
        }
    }

    fn tick_pool(&mut self, id: &str, now: Now) {
        let until = now.cloud + self.settings.after(|delays| delays.pool_seconds);
        let Some(pool) = self.pools.all.get_mut(id) else { return };
        let before = pool.members.len();
        let compute = &self.compute;
        pool.members.retain(|member| compute.get(member).is_some_and(|instance| !instance.state.is_gone()));
        if pool.members.len() < before {
            pool.touch(until);
        }
        let too_many = pool.members.len().saturating_sub(pool.size);
        let going: Vec<String> = pool.members.drain(..too_many).collect();
        if !going.is_empty() {
            pool.touch(until);
        }
        for member in going {
            let _ = self.compute.terminate(&member, now, &self.settings, &mut self.effects);
        }
        while self.launch_member(id, now, until) {}
        let Some(pool) = self.pools.all.get_mut(id) else { return };
        let is_up = |member: &String| {
            self.compute
                .get(member)
                .is_some_and(|instance| !matches!(instance.state, InstanceState::Provisioning { .. }))
        };
        if pool.busy_until <= now.cloud && pool.members.len() == pool.size && pool.members.iter().all(is_up) {
            pool.state = State::Running;
        }
    }

    /// Launches one more, if the pool lacks one and the cloud has room.
    fn launch_member(&mut self, id: &str, now: Now, until: Duration) -> bool {
        let Some(pool) = self.pools.all.get_mut(id) else { return false };
        if pool.members.len() >= pool.size || self.compute.is_full() {
            return false;
        }
        let Some(private_ip) = self.compute.free_address(&self.settings) else { return false };
        pool.launched += 1;
        // As OCI names them, but for the letters.
        let display_name = format!("inst-{:05}-{}", pool.launched, pool.display_name);
        let launch = Launch {
            id: ocid::fresh("instance", &self.settings.region_key),
            display_name,
            compartment: pool.compartment.clone(),
            machine: pool.template.clone(),
            private_ip,
            pool: Some(id.into()),
        };
        pool.members.push(launch.id.clone());
        pool.touch(until);
        self.compute.launch(launch, now, &self.settings);
        true
    }

    /// Takes an instance out of its pool.
    ///
    /// # Errors
    /// 404 when it is no member, 409 in the middle of a change.
    pub(crate) fn detach(
        &mut self,
        pool: &str,
        instance: &str,
        is_decrement: bool,
        is_terminate: bool,
        now: Now,
    ) -> Result<(), Refusal> {
        let until = now.cloud + self.settings.after(|delays| delays.pool_seconds);
        let pool = self.pools.all.get_mut(pool).ok_or_else(Refusal::not_found)?;
        let at = pool.members.iter().position(|member| member == instance).ok_or_else(Refusal::not_found)?;
        pool.must_be_running()?;
        pool.members.remove(at);
        if is_decrement {
            pool.size = pool.size.saturating_sub(1);
        }
        pool.touch(until);
        if let Some(instance) = self.compute.get_mut(instance) {
            instance.pool = None;
            instance.etag = ocid::uuid();
        }
        if is_terminate {
            self.compute.terminate(instance, now, &self.settings, &mut self.effects)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
