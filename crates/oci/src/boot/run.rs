//! One run of boot: where it is, told to the operator and kept in the progress file.

use super::api::Api;
use super::error::BootError;
use super::host::{Host, Line};
use super::identity::Identity;
use super::progress::{Progress, Step, Waiting};

pub(super) struct Run<'a, H> {
    pub(super) host: &'a H,
    pub(super) progress: Progress,
}

impl<'a, H: Host> Run<'a, H> {
    /// Begins, and says what the last run did if it did not end well.
    pub(super) async fn begin(host: &'a H) -> Result<Run<'a, H>, BootError> {
        let last = Progress::load(host).await?;
        if let Some(last) = last.filter(|last| last.step != Step::Done) {
            let waited = last.waiting.as_ref().map(|waiting| format!(", waiting for {}", waiting.what));
            let how = match &last.failed {
                Some(failed) => format!("failed: {failed}"),
                None => "was stopped".to_owned(),
            };
            host.say(Line::Step(format!(
                "the last boot {how} (while {}{}); going on from there",
                last.step.doing(),
                waited.unwrap_or_default()
            )));
        }
        let run = Run { host, progress: Progress::begin(host.now()) };
        run.progress.store(host).await?;
        Ok(run)
    }

    pub(super) async fn step(&mut self, step: Step) -> Result<(), BootError> {
        self.progress.step = step;
        self.progress.step_since = self.host.now();
        self.progress.waiting = None;
        Ok(self.progress.store(self.host).await?)
    }

    pub(super) async fn waits(&mut self, waiting: Option<Waiting>) -> Result<(), BootError> {
        self.progress.waiting = waiting;
        Ok(self.progress.store(self.host).await?)
    }

    /// Notes why the run ended.
    pub(super) async fn failed(&mut self, error: &BootError) {
        self.progress.failed = Some(error.to_string());
        if let Err(unwritten) = self.progress.store(self.host).await {
            self.host.say(Line::Warning(unwritten.to_string()));
        }
    }
}

/// A run that knows which machine it is on.
pub(super) struct Boot<'a, A, H> {
    pub(super) api: &'a A,
    pub(super) host: &'a H,
    pub(super) id: Identity,
    pub(super) run: Run<'a, H>,
}

impl<A: Api, H: Host> Boot<'_, A, H> {
    pub(super) fn step_done(&self, line: String) {
        self.host.say(Line::Step(line));
    }
}
