//! Instances, from PROVISIONING to TERMINATED. What runs on them is outside; here is what the API says.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Effect, Now, Settings};
use crate::api::Refusal;
use crate::auth::authority::Leaf;
use crate::config::Machine;
use crate::ocid;

/// Instances, terminated ones included.
pub(crate) const MAX_INSTANCES: usize = 500;
/// A terminated instance is listed for so long.
const SHOWN_TERMINATED: Duration = Duration::from_secs(2 * 3600);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Provisioning {
        until: Duration,
    },
    Running,
    /// The power goes at `deadline` if it has not stopped by itself.
    Stopping {
        deadline: Duration,
    },
    Stopped,
    Starting {
        until: Duration,
    },
    Terminating {
        until: Duration,
    },
    Terminated {
        since: Duration,
    },
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Provisioning { .. } => "PROVISIONING",
            State::Running => "RUNNING",
            State::Stopping { .. } => "STOPPING",
            State::Stopped => "STOPPED",
            State::Starting { .. } => "STARTING",
            State::Terminating { .. } => "TERMINATING",
            State::Terminated { .. } => "TERMINATED",
        }
    }

    pub(crate) fn is_gone(self) -> bool {
        matches!(self, State::Terminating { .. } | State::Terminated { .. })
    }
}

/// What the processes of a machine do, as far as known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Power {
    Off,
    On,
    /// Killed by the test: the API goes on saying RUNNING.
    Dead,
}

pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) compartment: String,
    pub(crate) machine: Machine,
    pub(crate) private_ip: Ipv4Addr,
    pub(crate) public_ip: Ipv4Addr,
    pub(crate) vnic: String,
    pub(crate) fault_domain: String,
    pub(crate) defined_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Each set of free-form tags with the time since when the metadata shows it.
    tags: Vec<(Duration, BTreeMap<String, String>)>,
    pub(crate) state: State,
    pub(crate) power: Power,
    pub(crate) created: Duration,
    pub(crate) created_unix_ms: i64,
    pub(crate) etag: String,
    pub(crate) pool: Option<String>,
    /// What the path of its metadata is told apart by.
    pub(crate) imds_token: String,
    /// Its certificate, once it has asked.
    pub(crate) leaf: Option<Leaf>,
}

impl Instance {
    /// As the API says.
    pub(crate) fn freeform_tags(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.tags.last().map_or(&NONE, |(_, tags)| tags)
    }

    /// As the instance's own metadata says, which lags.
    pub(crate) fn imds_tags(&self, now: Duration) -> &BTreeMap<String, String> {
        let shown = self.tags.iter().rev().find(|(from, _)| *from <= now);
        shown.or(self.tags.first()).map_or_else(|| self.freeform_tags(), |(_, tags)| tags)
    }

    /// Replaces the free-form tags.
    pub(crate) fn set_tags(&mut self, tags: BTreeMap<String, String>, visible_from: Duration, now: Duration) {
        // Of those that show already the last is enough.
        let shown = self.tags.iter().rposition(|(from, _)| *from <= now).unwrap_or(0);
        self.tags.drain(..shown);
        self.tags.push((visible_from, tags));
        self.etag = ocid::uuid();
    }
}

/// What an instance is made with.
pub(crate) struct Launch {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) compartment: String,
    pub(crate) machine: Machine,
    pub(crate) private_ip: Ipv4Addr,
    pub(crate) pool: Option<String>,
}

/// `InstanceAction`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Start,
    Stop,
    SoftStop,
    Reset,
    SoftReset,
}

impl Action {
    pub(crate) fn parse(text: &str) -> Option<Action> {
        let all = [
            ("START", Action::Start),
            ("STOP", Action::Stop),
            ("SOFTSTOP", Action::SoftStop),
            ("RESET", Action::Reset),
            ("SOFTRESET", Action::SoftReset),
        ];
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, action)| action)
    }
}

/// All of them, by OCID.
#[derive(Default)]
pub(crate) struct Compute {
    all: BTreeMap<String, Instance>,
    launched: usize,
}

impl Compute {
    pub(crate) fn get(&self, id: &str) -> Option<&Instance> {
        self.all.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.all.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.all.values()
    }

    /// By OCID or display name; of several the one that is not gone.
    pub(crate) fn find(&self, name: &str) -> Option<&Instance> {
        let named = || self.all.values().filter(|instance| instance.display_name == name);
        let living = || named().find(|instance| !instance.state.is_gone());
        self.all.get(name).or_else(living).or_else(|| named().next_back())
    }

    pub(crate) fn by_imds_token(&self, token: &str) -> Option<&Instance> {
        let mut living = self.all.values().filter(|instance| !instance.state.is_gone());
        living.find(|instance| instance.imds_token == token)
    }

    /// The first address that nobody has.
    pub(crate) fn free_address(&self, settings: &Settings) -> Option<Ipv4Addr> {
        let living =
            || self.all.values().filter(|instance| !matches!(instance.state, State::Terminated { .. }));
        settings.addresses().find(|address| living().all(|instance| instance.private_ip != *address))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= MAX_INSTANCES
    }

    /// Begins to provision an instance.
    pub(crate) fn launch(&mut self, launch: Launch, now: Now, settings: &Settings) {
        let until = now.cloud + settings.after(|delays| delays.provision_seconds);
        let fault_domain = match launch.machine.fault_domain.as_str() {
            "" => format!("FAULT-DOMAIN-{}", self.launched % 3 + 1),
            given => given.to_owned(),
        };
        self.launched += 1;
        let instance = Instance {
            display_name: launch.display_name,
            compartment: launch.compartment,
            private_ip: launch.private_ip,
            public_ip: launch.machine.public_ip.unwrap_or(launch.private_ip),
            vnic: ocid::named("vnic", &settings.region_key, &launch.id),
            fault_domain,
            defined_tags: launch.machine.defined_tags.clone(),
            tags: vec![(Duration::ZERO, launch.machine.freeform_tags.clone())],
            machine: launch.machine,
            state: State::Provisioning { until },
            power: Power::Off,
            created: now.cloud,
            created_unix_ms: now.unix_ms,
            etag: ocid::uuid(),
            pool: launch.pool,
            imds_token: ocid::hex(12),
            leaf: None,
            id: launch.id.clone(),
        };
        self.all.insert(launch.id, instance);
    }

    pub(super) fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for instance in self.all.values_mut() {
            match instance.state {
                State::Provisioning { until } | State::Starting { until } if until <= now.cloud => {
                    instance.state = State::Running;
                    instance.power = Power::On;
                    effects.push(Effect::PowerOn(instance.id.clone()));
                }
                State::Stopping { deadline } if deadline <= now.cloud => {
                    instance.state = State::Stopped;
                    instance.power = Power::Off;
                    effects.push(Effect::PowerOff(instance.id.clone()));
                }
                State::Terminating { until } if until <= now.cloud => {
                    instance.state = State::Terminated { since: now.cloud };
                }
                _ => {}
            }
        }
        let is_shown = |instance: &Instance| match instance.state {
            State::Terminated { since } => now.cloud < since + SHOWN_TERMINATED,
            _ => true,
        };
        self.all.retain(|_, instance| is_shown(instance));
    }

    /// # Errors
    /// 404 for one that is gone.
    pub(crate) fn terminate(
        &mut self,
        id: &str,
        now: Now,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let instance = self.all.get_mut(id).filter(|instance| !instance.state.is_gone());
        let instance = instance.ok_or_else(Refusal::not_found)?;
        let until = now.cloud + settings.after(|delays| delays.stop_seconds);
        instance.state = State::Terminating { until };
        instance.power = Power::Off;
        instance.etag = ocid::uuid();
        effects.push(Effect::PowerOff(id.into()));
        Ok(())
    }

    /// # Errors
    /// 404 for one that is gone, 409 when it is not in the state for that.
    pub(crate) fn act(
        &mut self,
        id: &str,
        action: Action,
        now: Now,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let instance = self.all.get_mut(id).filter(|instance| !instance.state.is_gone());
        let instance = instance.ok_or_else(Refusal::not_found)?;
        let in_state = |wanted: State| {
            if instance.state == wanted {
                return Ok(());
            }
            let text = format!("The instance is {}, but must be {}.", instance.state.name(), wanted.name());
            Err(Refusal::incorrect_state(text))
        };
        let short = settings.after(|delays| delays.stop_seconds);
        match action {
            Action::Start => {
                in_state(State::Stopped)?;
                instance.state = State::Starting { until: now.cloud + short };
            }
            Action::Stop => {
                in_state(State::Running)?;
                instance.state = State::Stopping { deadline: now.cloud };
            }
            Action::SoftStop => {
                in_state(State::Running)?;
                let patience = settings.after(|delays| delays.soft_stop_seconds);
                instance.state = State::Stopping { deadline: now.cloud + patience };
                if instance.power == Power::On {
                    effects.push(Effect::PressButton(id.into()));
                }
            }
            Action::Reset | Action::SoftReset => {
                in_state(State::Running)?;
                effects.push(Effect::PowerOff(id.into()));
                instance.power = Power::Off;
                instance.state = State::Starting { until: now.cloud + short };
            }
        }
        instance.etag = ocid::uuid();
        Ok(())
    }

    /// The machine's processes have ended by themselves: it was shut down from within.
    pub(crate) fn machine_ended(&mut self, id: &str, now: Now, settings: &Settings, is_reboot: bool) {
        let Some(instance) = self.all.get_mut(id) else { return };
        if instance.power != Power::On {
            return;
        }
        instance.power = Power::Off;
        match instance.state {
            State::Running if is_reboot => {
                let until = now.cloud + settings.after(|delays| delays.stop_seconds);
                instance.state = State::Starting { until };
            }
            State::Running | State::Stopping { .. } => instance.state = State::Stopped,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
