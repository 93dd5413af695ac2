//! A watch on etcd that outlives its connections: it goes on at another member after the last revision seen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tonic::Streaming;

use super::cluster::Cluster;
use super::messages::{
    EventType, WatchCreateRequest, WatchEvent, WatchProgressRequest, WatchRequest, WatchResponse,
};
use super::status::Verdict;
use super::{entry, prefix_end, prefix_start};
use crate::{Batch, Error, Event};

/// How often a quiet member is asked whether it is there. (HTTP/2 pings do not serve: etcd closes connections
/// with more than one in 5 s.)
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Silence after which a member counts as gone.
const SILENCE: Duration = Duration::from_millis(1500);

/// Pause before the next member is tried, doubled up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Questions whether the member is there that wait to be sent; more of them would say nothing new.
const QUESTIONS: usize = 1;

type Sender = mpsc::Sender<Result<Batch, Error>>;

/// Why a stream ended.
enum End {
    /// Nobody reads any more.
    Dropped,
    Fatal(Error),
    /// To be taken up again elsewhere.
    Lost(String),
    StaleToken(String),
}

/// Feeds `sender` with what changes under `prefix` from revision `from` on.
pub(super) async fn run(cluster: Arc<Cluster>, prefix: String, mut from: u64, sender: Sender) {
    let (mut pause, mut denied) = (MIN_PAUSE, false);
    let mut at = cluster.current();
    loop {
        let mut answered = false;
        let end = follow(&cluster, at, &prefix, &mut from, &mut answered, &sender).await;
        if answered {
            (pause, denied) = (MIN_PAUSE, false);
        }
        match end {
            End::Dropped => return,
            End::Fatal(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
            // A member that was restarted knows no tokens, and says that the watch is not permitted.
            End::StaleToken(reason) if denied || !cluster.has_credentials() => {
                let _ = sender.send(Err(Error::Denied { reason })).await;
                return;
            }
            End::StaleToken(_) => {
                denied = true;
                cluster.forget_token();
            }
            End::Lost(reason) => {
                tracing::debug!(%prefix, %reason, "watch of etcd interrupted");
                cluster.pass_over(at);
                at = cluster.after(at);
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// Until the stream ends. `answered` tells whether the member took the watch.
async fn follow(
    cluster: &Cluster,
    at: usize,
    prefix: &str,
    from: &mut u64,
    answered: &mut bool,
    sender: &Sender,
) -> End {
    let create = WatchRequest {
        create_request: Some(WatchCreateRequest {
            key: prefix_start(prefix),
            range_end: prefix_end(prefix),
            start_revision: *from as i64,
        }),
        progress_request: None,
    };
    let (questions, asked) = mpsc::channel::<WatchRequest>(QUESTIONS);
    let requests = futures_util::stream::once(std::future::ready(create))
        .chain(futures_util::stream::unfold(asked, |mut asked| async { Some((asked.recv().await?, asked)) }));
    let mut answers: Streaming<WatchResponse> =
        match cluster.open_stream(at, "/etcdserverpb.Watch/Watch", requests).await {
            Ok(answers) => answers,
            Err(Verdict::Final(error)) => return End::Fatal(error),
            Err(Verdict::StaleToken(reason)) => return End::StaleToken(reason),
            Err(Verdict::NotDone(reason) | Verdict::Unknown(reason)) => return End::Lost(reason),
        };
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let answer = tokio::select! {
            answer = timeout_at(heard + SILENCE, answers.message()) => answer,
            _ = ask.tick() => {
                let question = WatchRequest { create_request: None, progress_request: Some(WatchProgressRequest {}) };
                // A full queue means that one is on its way.
                let _ = questions.try_send(question);
                continue;
            }
            () = sender.closed() => return End::Dropped,
        };
        let answer = match answer {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return End::Lost("the member ended the stream".into()),
            Ok(Err(status)) => return End::Lost(status.message().to_owned()),
            Err(_elapsed) => return End::Lost(format!("the member was silent for {SILENCE:?}")),
        };
        if answer.compact_revision > 0 {
            return End::Fatal(Error::Compacted { oldest: answer.compact_revision as u64 });
        }
        if answer.canceled {
            return match answer.cancel_reason.contains("denied") || answer.cancel_reason.contains("token") {
                true => End::StaleToken(answer.cancel_reason),
                false => End::Lost(answer.cancel_reason),
            };
        }
        *answered = true;
        if let Some(batch) = batch(answer.events) {
            *from = batch.revision + 1;
            if sender.send(Ok(batch)).await.is_err() {
                return End::Dropped;
            }
        }
        // After the reader took it: its slowness is not the member's.
        heard = Instant::now();
    }
}

fn batch(events: Vec<WatchEvent>) -> Option<Batch> {
    let events: Vec<Event> = events
        .into_iter()
        .filter_map(|event| {
            let deleted = event.kind == EventType::Delete as i32;
            let entry = entry(event.kv?)?;
            Some(match deleted {
                true => Event::Delete { key: entry.key, mod_revision: entry.mod_revision },
                false => Event::Put(entry),
            })
        })
        .collect();
    Some(Batch { revision: events.last()?.mod_revision(), events })
}
