//! The outside of the cloud: sockets, processes, and the clock that drives it.

mod balancer;
mod containers;
mod dispatch;
mod listener;
mod machines;
pub(crate) mod processes;
mod proxy_protocol;
mod serve;
mod timer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cloud::{Cloud, Now};

pub(crate) use listener::Reply as AdminReply;
pub(crate) use machines::kill;
pub use serve::{ServeError, serve};

/// What all tasks share.
pub(crate) struct Shared {
    cloud: Mutex<Cloud>,
    start: std::time::Instant,
    pub(crate) machines: machines::Machines,
    pub(crate) containers: containers::Containers,
}

impl Shared {
    /// The cloud, up to date.
    pub(crate) fn cloud(&self) -> (MutexGuard<'_, Cloud>, Now) {
        // A panic in a handler is reported by its task; the state is as good as after any handler.
        let mut cloud = self.cloud.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Now { cloud: cloud.clock.at(self.start.elapsed()), unix_ms: unix_ms() };
        cloud.tick(now);
        (cloud, now)
    }

    /// Real time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Does what the cloud wants done outside.
    pub(crate) fn act(self: &Arc<Self>) {
        let effects = self.cloud().0.take_effects();
        for effect in effects {
            match effect {
                crate::cloud::Effect::PowerOn(id) => machines::power_on(self, id),
                crate::cloud::Effect::PressButton(id) => self.machines.press_button(&id),
                crate::cloud::Effect::PowerOff(id) => self.machines.power_off(&id),
                crate::cloud::Effect::OpenBalancer(id) => balancer::open(self, id),
            }
        }
    }
}

/// Real time.
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
