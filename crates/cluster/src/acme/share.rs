//! One master's side of the shared certificate: what it shows now, and what it answers to challenges. Fed by a watch
//! of the store.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use store::{Error, Store, Txn, range_all};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::config::{AcmeConfig, BadAcme, Clock};
use super::keeper::Keeper;
use super::order::certified;
use super::reach::Reach;
use super::records::{CertificateRecord, PREFIX, SELF_SIGNED, challenge_key, to_bytes};
use super::self_signed;
use super::transport::Transport;
use super::view::{Versioned, View};
use crate::NodeId;

/// How long a start waits for the store's certificate, before it shows one of its own for the moment.
const START_WITHIN: Duration = Duration::from_secs(3);

/// Between attempts to read the store.
const RETRY: Duration = Duration::from_millis(500);

/// Challenges that are looked for in the store at a time, because the watch does not have them (yet).
const MAX_LOOKUPS: usize = 4;

/// Tokens have at least 128 bits in base64; servers write some 43 characters.
const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 22..=128;

/// What a master is told of the certificate.
#[derive(Clone, Debug)]
pub struct ShareConfig {
    /// This master, as others are told.
    pub node_id: NodeId,
    /// Names in the self-signed certificate, besides `localhost` and those of `acme`.
    pub names: Vec<String>,
    /// None: the self-signed one is all there is.
    pub acme: Option<AcmeConfig>,
    /// How the way is tried before a certificate is asked for.
    pub reach: Reach,
    pub clock: Clock,
}

/// See the module.
pub struct CertificateShare {
    pub(super) store: Arc<dyn Store>,
    pub(super) node: NodeId,
    pub(super) clock: Clock,
    pub(super) acme: Option<(AcmeConfig, Transport)>,
    pub(super) reach: Reach,
    /// When this process started.
    pub(super) started_at_ms: i64,
    pub(super) view: watch::Sender<View>,
    /// Of the self-signed certificate.
    names: Vec<String>,
    current: ArcSwap<CertifiedKey>,
    /// Which change of the store wrote what `current` is made of.
    shown: watch::Sender<u64>,
    lookups: Semaphore,
}

impl fmt::Debug for CertificateShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateShare").field("names", &self.names).finish_non_exhaustive()
    }
}

impl CertificateShare {
    /// Checks the configuration and takes what the store has. If that does not answer soon, the share begins with a
    /// certificate of its own. Then [`Self::run`] it.
    pub async fn open(store: Arc<dyn Store>, config: ShareConfig) -> Result<Arc<CertificateShare>, BadAcme> {
        let acme = match config.acme {
            Some(acme) => {
                let acme = acme.checked()?;
                let transport = Transport::new(acme.ca_file.as_deref())?;
                Some((acme, transport))
            }
            None => None,
        };
        let mut names = vec!["localhost".to_owned()];
        names.extend(config.names);
        names.extend(acme.iter().flat_map(|(acme, _)| acme.names.clone()));
        let now_ms = config.clock.now_ms();
        let own = self_signed::make(now_ms, &names, None, fastrand::f64())
            .map_err(|error| error.to_string())
            .and_then(|record| certified(&record.chain, &record.key))
            .map_err(|problem| BadAcme::BadName(format!("{}: {problem}", names.join(", "))))?;
        let name = acme.as_ref().map(|(acme, _)| acme.first_name().to_owned());
        let share = Arc::new(CertificateShare {
            store,
            node: config.node_id,
            clock: config.clock,
            acme,
            reach: config.reach,
            started_at_ms: now_ms,
            view: watch::Sender::new(View::new(name)),
            names,
            current: ArcSwap::from_pointee(own),
            shown: watch::Sender::new(0),
            lookups: Semaphore::new(MAX_LOOKUPS),
        });
        let read = async {
            while share.read().await.is_err() || share.keep_self_signed().await.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        };
        if timeout(START_WITHIN, read).await.is_err() {
            tracing::warn!(
                "the store's certificate is not there yet; this master shows one of its own meanwhile"
            );
        }
        Ok(share)
    }

    /// The certificate to show.
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.current.load_full()
    }

    /// Completes when [`Self::current`] has changed since `seen`, which it updates. Begin with 0.
    pub async fn changed(&self, seen: &mut u64) {
        let mut shown = self.shown.subscribe();
        // The sender lives as long as we do.
        if let Ok(now) = shown.wait_for(|shown| shown != seen).await {
            *seen = *now;
        }
    }

    /// Whether challenges are answered here.
    pub fn answers_challenges(&self) -> bool {
        self.acme.is_some()
    }

    /// What the ACME server wants to read under `/.well-known/acme-challenge/<token>`.
    pub async fn answer(&self, token: &str) -> Option<String> {
        let in_alphabet = token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !in_alphabet || !TOKEN_LENGTH.contains(&token.len()) {
            return None;
        }
        if let Some(answer) = self.view.borrow().challenge(token) {
            return Some(answer.to_owned());
        }
        // The server may be quicker than the watch. Who guesses tokens gets no more than this.
        let _permit = self.lookups.try_acquire().ok()?;
        let entry = self.store.get(&challenge_key(token)).await.ok()??;
        String::from_utf8(entry.value.to_vec()).ok()
    }

    /// Follows the store and keeps the certificates in it fresh, for ever.
    pub async fn run(self: Arc<Self>) {
        let follow = async {
            loop {
                let Err(error) = self.follow().await;
                tracing::debug!(%error, "reading the shared certificate anew");
                tokio::time::sleep(RETRY).await;
            }
        };
        let keep_self_signed = async {
            let mut view = self.view.subscribe();
            loop {
                if let Err(error) = self.keep_self_signed().await {
                    tracing::warn!(%error, "the shared self-signed certificate could not be written");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                let due_ms = view.borrow_and_update().self_signed.as_ref().map(|c| c.record.renew_at_ms);
                tokio::select! {
                    _ = view.changed() => {}
                    () = self.clock.wait_until(due_ms.unwrap_or(i64::MAX)) => {}
                }
            }
        };
        let keep_issued = async {
            match &self.acme {
                Some((config, transport)) => Keeper { share: &self, config, transport }.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(follow, keep_self_signed, keep_issued);
    }

    async fn follow(&self) -> Result<Infallible, Error> {
        let revision = self.read().await?;
        let mut watch = self.store.watch(PREFIX, revision + 1).await?;
        loop {
            let batch = watch.next().await?;
            self.update(|view| view.apply(&batch));
        }
    }

    async fn read(&self) -> Result<u64, Error> {
        let (entries, revision) = range_all(&*self.store, PREFIX).await?;
        self.update(|view| view.snapshot(&entries));
        Ok(revision)
    }

    fn update(&self, change: impl FnOnce(&mut View)) {
        let former = self.view.borrow().attempts.as_ref().map(|attempts| attempts.revision);
        self.view.send_modify(change);
        let view = self.view.borrow();
        if let Some(Versioned { record, revision }) = &view.attempts
            && former < Some(*revision)
            && record.node != self.node.0
        {
            tracing::warn!(
                node = record.node,
                "no certificate for {}: {}",
                record.wanted.names.join(", "),
                record.error
            );
        }
        let best = view.certificate.as_ref().or(view.self_signed.as_ref());
        let Some(Versioned { record, revision }) = best.filter(|best| best.revision != *self.shown.borrow())
        else {
            return;
        };
        match certified(&record.chain, &record.key) {
            Ok(certified) => {
                self.current.store(Arc::new(certified));
                self.shown.send_replace(*revision);
                self.tell(record);
            }
            Err(problem) => {
                tracing::error!(
                    problem,
                    "the store's certificate cannot be used; the former one stays in use"
                );
            }
        }
    }

    fn tell(&self, record: &CertificateRecord) {
        let names = record.wanted.names.join(", ");
        let days = (record.not_after_ms - self.clock.now_ms()) / super::schedule::DAY_MS;
        match record.wanted.directory.as_str() {
            "" if self.acme.is_none() => tracing::warn!(
                names,
                "browsers will warn of the self-signed certificate; gateway.acme or gateway.certificate_file brings another one"
            ),
            "" => tracing::info!(names, "the self-signed certificate is shown until one is issued"),
            directory => tracing::info!(names, directory, days, "an issued certificate is shown"),
        }
    }

    /// Makes the self-signed certificate, or makes it anew, unless another master is quicker.
    async fn keep_self_signed(&self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let former = {
            let view = self.view.borrow();
            match &view.self_signed {
                _ if !view.read => return Ok(()),
                Some(held) if !self_signed::is_due(&held.record, &self.names, now_ms) => return Ok(()),
                former => former.clone(),
            }
        };
        let made =
            self_signed::make(now_ms, &self.names, former.as_ref().map(|f| &f.record), fastrand::f64());
        let record = made.map_err(|error| Error::Invalid { what: error.to_string() })?;
        let txn = match &former {
            Some(former) => Txn::new().if_unchanged(SELF_SIGNED, former.revision),
            None => Txn::new().if_absent(SELF_SIGNED),
        };
        self.store.commit(txn.put(SELF_SIGNED, to_bytes(&record))).await?;
        // Ours or the other master's: it is the same to us.
        self.read().await.map(drop)
    }
}

#[cfg(test)]
mod tests;
