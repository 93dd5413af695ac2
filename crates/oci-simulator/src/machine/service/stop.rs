//! How a service is stopped, and what is left of it removed.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Phase;
use super::actor::Actor;
use super::run::{Run, at, received};
use crate::machine::notify::{Message, Socket};
use crate::machine::signal_named;
use crate::machine::spawn::Process;

impl Actor {
    pub(super) async fn stopped(&mut self, run: &Run, main: Option<Process>) {
        self.stopped_notifying(run, main, None).await;
    }

    /// Stops what runs: `ExecStop=`, then the signal, then after the timeout the hard way.
    pub(super) async fn stopped_notifying(
        &mut self,
        run: &Run,
        main: Option<Process>,
        socket: Option<Socket>,
    ) {
        self.status.send_modify(|status| (status.phase, status.sub) = (Phase::Deactivating, "stop"));
        let limit = run.file.span("Service", "TimeoutStopSec", Duration::from_secs(90));
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        tokio::select! {
            result = self.all_of(run, "ExecStop") => if let Err(error) = result {
                self.log(&error);
            },
            () = at(deadline) => self.log("ExecStop timed out"),
        }
        let signal = run.file.last("Service", "KillSignal").and_then(signal_named).unwrap_or(Signal::TERM);
        let is_whole = !matches!(run.file.last("Service", "KillMode"), Some("mixed" | "process" | "none"));
        if let Some(mut main) = main {
            if is_whole {
                self.host.signal(&self.unit, signal);
            } else {
                main.signal(signal);
            }
            loop {
                tokio::select! {
                    _ = main.wait() => break,
                    messages = received(socket.as_ref()) => for message in messages {
                        match message {
                            Message::ExtendTimeout(by) => deadline = Some(Instant::now() + by),
                            Message::Status(text) => self.status.send_modify(|status| status.text = text),
                            _ => {}
                        }
                    },
                    () = at(deadline) => {
                        self.log("stop timed out: killed");
                        self.host.kill(&self.unit);
                        let _ = main.wait().await;
                        break;
                    }
                }
            }
        }
        // What the main process left behind gets until the deadline, too.
        while !self.host.pids(&self.unit).is_empty() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) || !is_whole {
                self.host.kill(&self.unit);
                break;
            }
            self.host.signal(&self.unit, signal);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// After any end: nothing of the unit is left, and `ExecStopPost=` has run.
    pub(super) async fn cleaned(&mut self, run: &Run) {
        if run.file.last("Service", "KillMode") != Some("process") {
            self.host.kill(&self.unit);
        }
        if let Err(error) = self.all_of(run, "ExecStopPost").await {
            self.log(&error);
        }
    }
}
