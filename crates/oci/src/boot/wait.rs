//! Waiting with a deadline, and one clear line: what is awaited, since when, until when, and what to check.

use std::time::Duration;

use super::api::ApiError;
use super::error::BootError;
use super::host::{Host, Line};
use super::progress::Waiting;
use super::run::Run;

/// Between two looks. The Vault allows about 30 requests a minute and principal; other services more.
const PAUSE: Duration = Duration::from_secs(5);

/// A wait that goes on says so again this often.
const REMINDER_S: u64 = 60;

/// States of one wait that are remembered.
const MAX_SAID: usize = 8;

/// What to wait for.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    pub(super) what: String,
    pub(super) patience: Duration,
    /// What the operator can look at.
    pub(super) check: String,
}

/// One wait.
pub(super) struct Wait {
    awaited: Awaited,
    since: u64,
    until: u64,
    /// States that were said, with when.
    said: Vec<(String, u64)>,
    spoke: bool,
    pause: Duration,
}

impl Wait {
    pub(super) fn new(now: u64, awaited: Awaited) -> Wait {
        let until = now + awaited.patience.as_secs();
        Wait { awaited, since: now, until, said: Vec::new(), spoke: false, pause: PAUSE }
    }

    /// Looks more often: what is asked is this machine.
    pub(super) fn every(mut self, pause: Duration) -> Wait {
        self.pause = pause;
        self
    }

    /// Says that it is not yet there because of `state`, and pauses.
    ///
    /// # Errors
    /// When the deadline has come.
    pub(super) async fn again<H: Host>(
        &mut self,
        run: &mut Run<'_, H>,
        state: &str,
    ) -> Result<(), BootError> {
        let now = run.host.now();
        if now >= self.until {
            return Err(BootError::Deadline {
                what: self.awaited.what.clone(),
                seconds: now - self.since,
                state: state.to_owned(),
                check: self.awaited.check.clone(),
            });
        }
        // One that comes and goes is not said each time.
        self.said.retain(|(_, at)| now < at + REMINDER_S);
        if !self.said.iter().any(|(said, _)| said == state) {
            self.said.truncate(MAX_SAID - 1);
            self.said.insert(0, (state.to_owned(), now));
            self.spoke = true;
            run.host.say(Line::Wait(format!(
                "waiting for {}: {state} (since {}, until {}); check: {}",
                self.awaited.what,
                clock(self.since),
                clock(self.until),
                self.awaited.check
            )));
            let waiting = Waiting {
                what: self.awaited.what.clone(),
                state: state.to_owned(),
                since: self.since,
                until: self.until,
                check: self.awaited.check.clone(),
            };
            run.waits(Some(waiting)).await?;
        }
        run.host.sleep(self.pause).await;
        Ok(())
    }

    /// The same for a failed call; an error that will not pass ends the wait.
    pub(super) async fn after<H: Host>(
        &mut self,
        run: &mut Run<'_, H>,
        error: ApiError,
    ) -> Result<(), BootError> {
        if !error.may_pass() {
            return Err(BootError::Cloud { doing: self.awaited.what.clone(), error });
        }
        self.again(run, &error.to_string()).await
    }

    /// It has come.
    pub(super) async fn over<H: Host>(self, run: &mut Run<'_, H>) -> Result<(), BootError> {
        if self.spoke {
            let seconds = run.host.now() - self.since;
            run.host.say(Line::Step(format!("{} after {seconds} s", self.awaited.what)));
            run.waits(None).await?;
        }
        Ok(())
    }
}

/// `HH:MM:SSZ`.
fn clock(unix_s: u64) -> String {
    let (minutes, seconds) = (unix_s / 60, unix_s % 60);
    format!("{:02}:{:02}:{seconds:02}Z", minutes / 60 % 24, minutes % 60)
}
