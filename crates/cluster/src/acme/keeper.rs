//! Keeps the issued certificate fresh: waits until something is to be done, takes the turn, does it, and writes down
//! how it went, for all masters.

use std::time::Duration;

use store::{Txn, range_all};
use tokio::time::timeout;

use super::config::AcmeConfig;
use super::order::{Conversation, Issued, Window};
use super::problem::{Failure, Kind};
use super::records::{
    AttemptsRecord, CertificateRecord, PREFIX, attempts_key, certificate_key, order_key, to_bytes,
};
use super::schedule::{self, HOUR_MS, Situation, Step, next_step};
use super::share::CertificateShare;
use super::transport::Transport;
use super::turn::{Turn, TurnLost};
use super::view::View;

/// One conversation. A server that takes longer is tried again.
const CONVERSATION_WITHIN: Duration = Duration::from_secs(300);

/// While another master has the turn, or the store does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Keeper<'a> {
    pub(super) share: &'a CertificateShare,
    pub(super) config: &'a AcmeConfig,
    pub(super) transport: &'a Transport,
}

impl Keeper<'_> {
    /// For ever.
    pub(super) async fn run(&self) {
        let mut view = self.share.view.subscribe();
        loop {
            let step = {
                let view = view.borrow_and_update();
                view.read.then(|| self.next_step(&view))
            };
            let nap = match step {
                None => None,
                Some(Step::Wait { until_ms }) => {
                    tokio::select! {
                        _ = view.changed() => {}
                        () = self.share.clock.wait_until(until_ms) => {}
                    }
                    continue;
                }
                Some(Step::Issue | Step::Ask) => {
                    match Turn::take(&self.share.store, &self.share.node).await {
                        Ok(Some(turn)) => self.work(turn).await,
                        Ok(None) => Some(LOOK_AGAIN),
                        Err(error) => {
                            tracing::debug!(%error, "the certificate waits for the store");
                            Some(LOOK_AGAIN)
                        }
                    }
                }
            };
            // What was written comes back by the watch; without it we would decide by an old view.
            tokio::select! {
                _ = view.changed() => {}
                () = tokio::time::sleep(nap.unwrap_or(LOOK_AGAIN)) => {}
            }
        }
    }

    fn next_step(&self, view: &View) -> Step {
        next_step(&Situation {
            now_ms: self.share.clock.now_ms(),
            started_at_ms: self.share.started_at_ms,
            wanted: &self.config.wanted(),
            certificate: view.certificate.as_ref().map(|certificate| &certificate.record),
            attempts: view.attempts.as_ref().map(|attempts| &attempts.record),
        })
    }

    /// Does what is to be done, now that nobody else does. Returns how long to pause if nothing changes.
    async fn work(&self, turn: Turn) -> Option<Duration> {
        let mut view = View::new(Some(self.config.first_name().to_owned()));
        match range_all(&*self.share.store, PREFIX).await {
            Ok((entries, _)) => view.snapshot(&entries),
            Err(error) => {
                tracing::debug!(%error, "the certificate waits for the store");
                turn.end().await;
                return Some(LOOK_AGAIN);
            }
        }
        // What an earlier conversation was told is over.
        self.transport.take_retry_after_ms();
        let conversation =
            Conversation { turn: &turn, transport: self.transport, config: self.config, view: &view };
        let done = match (self.next_step(&view), &view.certificate) {
            (Step::Issue, _) => {
                let names = self.config.names.join(", ");
                tracing::info!(names, directory = self.config.directory_url, "asking for a certificate");
                let ordered = async {
                    self.share.reach.wait(&self.config.names).await;
                    conversation.issue().await
                };
                let done = self.within(&turn, ordered).await;
                self.issued(&turn, &view, done).await
            }
            (Step::Ask, Some(certificate)) => {
                let done = self.within(&turn, conversation.window(&certificate.record)).await;
                self.asked(&turn, &certificate.record, done).await
            }
            // Somebody was quicker.
            (Step::Ask | Step::Wait { .. }, _) => Ok(()),
        };
        turn.end().await;
        if let Err(lost) = done {
            tracing::warn!(%lost, "this master stops working at the certificate; another one, or a later attempt, continues");
        }
        None
    }

    /// The conversation, as long as the turn is ours.
    async fn within<T>(
        &self,
        turn: &Turn,
        conversation: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = timeout(CONVERSATION_WITHIN, conversation) => done.unwrap_or_else(|_| {
                let directory = &self.config.directory_url;
                Err(Failure::network(format!("{directory} did not finish in time"), "it is tried again"))
            }),
            () = turn.lost() => Err(TurnLost::TakenOver.into()),
        }
    }

    async fn issued(&self, turn: &Turn, view: &View, done: Result<Issued, Failure>) -> Result<(), TurnLost> {
        let name = self.config.first_name();
        let now_ms = self.share.clock.now_ms();
        let failure = match done {
            Ok(issued) => {
                let record = self.record(issued, now_ms);
                let mut txn = Txn::new()
                    .put(certificate_key(name), to_bytes(&record))
                    .delete(order_key(name))
                    .delete(attempts_key(name));
                for key in view.expired(now_ms).into_iter().take(50) {
                    txn = txn.delete(key);
                }
                turn.commit(txn).await?;
                tracing::info!(names = record.wanted.names.join(", "), "a certificate was issued");
                return Ok(());
            }
            Err(Failure::Turn(lost)) => return Err(lost),
            Err(failure) => failure,
        };
        let failures =
            view.attempts.as_ref().map_or(0, |attempts| attempts.record.failures).saturating_add(1);
        let retry_after_ms = self.transport.take_retry_after_ms();
        let next_at_ms = schedule::retry_at(now_ms, failures, retry_after_ms, fastrand::f64());
        let minutes = (next_at_ms - now_ms) / schedule::MINUTE_MS;
        let meanwhile = match &view.certificate {
            Some(_) => "the former certificate stays in use",
            None => "a self-signed certificate is in use",
        };
        let error = format!("{failure}; next attempt in {minutes} min, until then {meanwhile}");
        tracing::warn!("no certificate for {}: {error}", self.config.names.join(", "));
        let attempts = AttemptsRecord {
            wanted: self.config.wanted(),
            failures,
            last_at_ms: now_ms,
            next_at_ms,
            rate_limited: failure.kind() == Some(Kind::RateLimited),
            error,
            node: self.share.node.to_string(),
        };
        let mut txn = Txn::new().put(attempts_key(name), to_bytes(&attempts));
        if failure.kind() != Some(Kind::Network) {
            txn = txn.delete(order_key(name));
        }
        turn.commit(txn).await
    }

    fn record(&self, issued: Issued, now_ms: i64) -> CertificateRecord {
        let (not_before, not_after) = (issued.validity.not_before_ms, issued.validity.not_after_ms);
        let mut record = CertificateRecord {
            wanted: self.config.wanted(),
            chain: issued.chain,
            key: issued.key,
            issued_at_ms: now_ms,
            not_after_ms: not_after,
            renew_at_ms: schedule::renew_at(now_ms, not_before, not_after, fastrand::f64()),
            ask_at_ms: None,
        };
        if let Some(window) = issued.window {
            plan(&mut record, window, not_before, now_ms);
            // A certificate that is due from its first moment comes of a clock that is wrong, theirs or ours.
            let life = not_after.saturating_sub(not_before).max(0);
            record.renew_at_ms = record.renew_at_ms.max(now_ms.saturating_add(HOUR_MS.min(life / 6)));
        }
        record
    }

    /// Takes the server's suggestion. If it cannot be had, the plan stays.
    async fn asked(
        &self,
        turn: &Turn,
        certificate: &CertificateRecord,
        done: Result<Option<Window>, Failure>,
    ) -> Result<(), TurnLost> {
        let now_ms = self.share.clock.now_ms();
        let mut record = certificate.clone();
        match done {
            Ok(Some(window)) => plan(&mut record, window, certificate.issued_at_ms, now_ms),
            Ok(None) => record.ask_at_ms = None,
            Err(Failure::Turn(lost)) => return Err(lost),
            Err(failure) => {
                tracing::debug!(%failure, "the server's renewal window could not be had");
                record.ask_at_ms = Some(now_ms.saturating_add(HOUR_MS));
            }
        }
        let key = certificate_key(self.config.first_name());
        turn.commit(Txn::new().put(key, to_bytes(&record))).await
    }
}

/// A time within the window, unless the one that was planned is in it already.
fn plan(record: &mut CertificateRecord, window: Window, not_before_ms: i64, now_ms: i64) {
    let suggested = window.start_ms..=window.end_ms;
    if !suggested.contains(&record.renew_at_ms) {
        let window = (window.start_ms, window.end_ms);
        record.renew_at_ms =
            schedule::within_window(window, not_before_ms, record.not_after_ms, fastrand::f64());
    }
    record.ask_at_ms = Some(schedule::ask_again_at(now_ms, window.ask_after_ms));
}
