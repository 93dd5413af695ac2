//! Request bodies are read whole before they are forwarded: the room's name may be within, and a node that
//! refuses must not cost the client its request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// All bodies in memory at a time.
const BUDGET_BYTES: usize = 256 << 20;

/// What the budget is counted in.
const UNIT_BYTES: usize = 1 << 10;

/// One body when the operator has switched the limit off.
const MAX_UNLIMITED_BYTES: usize = 64 << 20;

/// A client gets this long to send a body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a body was not read: a status and its text.
type Refusal = (StatusCode, &'static str);

const TOO_LARGE: Refusal = (StatusCode::PAYLOAD_TOO_LARGE, "request body too large");
const TOO_SLOW: Refusal = (StatusCode::REQUEST_TIMEOUT, "request body took too long");
const TOO_MANY: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "too many request bodies at a time; try again");
const BROKEN: Refusal = (StatusCode::BAD_REQUEST, "request body ended early");

/// The memory for bodies.
#[derive(Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self::of(BUDGET_BYTES)
    }
}

/// A whole body with its share of the budget.
pub(super) struct Buffered {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    /// Reads a body of up to `limit` bytes (0: 64 MiB). It takes from the budget what has arrived, not what was
    /// announced: an announcement costs a client nothing.
    pub(super) async fn read(
        &self,
        body: Body,
        headers: &HeaderMap,
        limit: usize,
    ) -> Result<Buffered, Refusal> {
        let limit = if limit == 0 { MAX_UNLIMITED_BYTES } else { limit.min(MAX_UNLIMITED_BYTES) };
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if declared.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > limit) {
            return Err(TOO_LARGE);
        }
        timeout(READ_TIMEOUT, self.collect(body, limit)).await.unwrap_or(Err(TOO_SLOW))
    }

    async fn collect(&self, body: Body, limit: usize) -> Result<Buffered, Refusal> {
        let mut stream = body.into_data_stream();
        let (mut bytes, mut share) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_| BROKEN)?;
            let length = bytes.len() + piece.len();
            if length > limit {
                return Err(TOO_LARGE);
            }
            let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = length.div_ceil(UNIT_BYTES).saturating_sub(held) as u32;
            let more = self.0.clone().try_acquire_many_owned(more).map_err(|_| TOO_MANY)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Buffered { bytes: bytes.freeze(), _share: share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_it_back() {
        let budget = Budget::of(10 * UNIT_BYTES);
        let read =
            async |kib: usize| budget.read(vec![1; kib * UNIT_BYTES].into(), &HeaderMap::new(), 0).await;
        let six = read(6).await.map_err(|refusal| refusal.1).unwrap();
        assert_eq!(read(6).await.err(), Some(TOO_MANY));
        let four = read(4).await;
        assert!(four.is_ok() && read(0).await.is_ok());
        drop(six);
        assert!(read(6).await.is_ok());
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_not_waited_for() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, 11.into());
        let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(Budget::default().read(endless, &headers, 10).await.err(), Some(TOO_LARGE));
    }
}
