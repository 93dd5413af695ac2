//! One established link: a loop that reads frames for the owner and one that writes the owner's frames, until
//! either fails.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame;
use super::links::{LinkEvent, LinkId};
use crate::NodeId;

/// Heartbeats and their answers come every 100 ms both ways. A link that is silent for this long is dialled
/// anew, because after a partition a new connection is quicker than TCP's retransmission.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A peer that takes nothing for this long is as good as silent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Frames on their way out are gathered into writes of about this size.
const WRITE_BATCH_BYTES: usize = 64 * 1024;

/// Carries frames until the stream ends, is silent too long or breaks the rules, or until `outgoing` closes.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(
    stream: S,
    link: LinkId,
    peer: &NodeId,
    outgoing: mpsc::Receiver<Bytes>,
    events: &mpsc::Sender<LinkEvent>,
) -> io::Result<()> {
    let (reader, writer) = split(stream);
    tokio::select! {
        ended = read(reader, link, peer, events) => ended,
        ended = write(writer, outgoing) => ended,
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    link: LinkId,
    peer: &NodeId,
    events: &mpsc::Sender<LinkEvent>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let received = timeout(IDLE_TIMEOUT, reader.read_buf(&mut buffer)).await;
        if received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Ok(());
        }
        let received_at = Instant::now();
        while let Some(payload) = frame::take(&mut buffer).map_err(io::Error::other)? {
            let event = LinkEvent::Frame { link, peer: peer.clone(), payload, received_at };
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut outgoing: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let mut batch = BytesMut::new();
    while let Some(payload) = outgoing.recv().await {
        frame::put(&mut batch, &payload);
        while batch.len() < WRITE_BATCH_BYTES
            && let Ok(payload) = outgoing.try_recv()
        {
            frame::put(&mut batch, &payload);
        }
        let written = timeout(WRITE_TIMEOUT, async {
            writer.write_all(&batch).await?;
            writer.flush().await
        });
        written.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        batch.clear();
    }
    Ok(())
}
