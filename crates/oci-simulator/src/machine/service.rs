//! A service as others see it: orders go in, its status shows. The work is a task's: [`actor`] decides when it runs,
//! [`run`] is one start up to its end, [`stop`] how it is stopped.

mod actor;
mod run;
mod stop;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::spawn::Host;
use super::unit_file::UnitFile;
use actor::Actor;

/// As `systemctl is-active` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Inactive,
    Activating,
    Active,
    Deactivating,
    Failed,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Inactive => "inactive",
            Phase::Activating => "activating",
            Phase::Active => "active",
            Phase::Deactivating => "deactivating",
            Phase::Failed => "failed",
        }
    }

    /// A job that led here is over.
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Phase::Inactive | Phase::Active | Phase::Failed)
    }
}

/// What is shown of a service.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) phase: Phase,
    pub(super) sub: &'static str,
    pub(super) main_pid: i32,
    pub(super) result: String,
    pub(super) restarts: u64,
    pub(super) text: String,
    /// Orders that are done.
    pub(super) done: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Start,
    Stop,
    Restart,
    Reload,
    ResetFailed,
}

/// The handle of a service.
#[derive(Clone)]
pub(super) struct Service {
    orders: mpsc::Sender<(Order, u64)>,
    pub(super) status: watch::Receiver<Status>,
}

/// Orders that wait.
const MAX_ORDERS: usize = 32;

impl Service {
    /// A service that does not run. `definition` is asked at each start.
    pub(super) fn new(
        host: Arc<Host>,
        unit: String,
        definition: impl Fn() -> Option<UnitFile> + Send + Sync + 'static,
    ) -> Service {
        let (orders, receiver) = mpsc::channel(MAX_ORDERS);
        let status = Status {
            phase: Phase::Inactive,
            sub: "dead",
            main_pid: 0,
            result: "success".into(),
            restarts: 0,
            text: String::new(),
            done: 0,
        };
        let (sender, status) = watch::channel(status);
        let actor = Actor {
            host,
            unit,
            definition: Box::new(definition),
            orders: receiver,
            status: sender,
            starts: Vec::new(),
        };
        tokio::spawn(actor.run());
        Service { orders, status }
    }

    /// Gives an order. Its number shows in [`Status::done`] when it is done.
    pub(super) async fn order(&self, order: Order, number: u64) {
        let _ = self.orders.send((order, number)).await;
    }

    /// Waits until an order is done and its effect is there.
    pub(super) async fn done(&self, number: u64) -> Status {
        let mut status = self.status.clone();
        match status.wait_for(|status| status.done >= number).await {
            Ok(status) => status.clone(),
            Err(_) => self.status.borrow().clone(),
        }
    }
}
