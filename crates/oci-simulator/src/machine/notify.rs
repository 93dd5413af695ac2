//! The notify socket of a unit: `READY=1` and its like.

use std::path::Path;
use std::time::Duration;

use tokio::net::UnixDatagram;

/// What a service says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    Ready,
    Stopping,
    Watchdog,
    /// `WATCHDOG=trigger`
    WatchdogTrigger,
    Status(String),
    MainPid(i32),
    ExtendTimeout(Duration),
}

/// The socket, gone with this.
pub(super) struct Socket {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Socket {
    /// # Errors
    /// When it cannot be made, for one because the path is too long.
    pub(super) fn bind(path: &Path) -> std::io::Result<Socket> {
        let _ = std::fs::remove_file(path);
        Ok(Socket { socket: UnixDatagram::bind(path)?, path: path.to_owned() })
    }

    /// The next messages. Never ends on a broken socket, but says nothing more.
    pub(super) async fn receive(&self) -> Vec<Message> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer).await {
            Ok(length) => parse(&String::from_utf8_lossy(&buffer[..length])),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn parse(text: &str) -> Vec<Message> {
    let one = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some(match (name, value) {
            ("READY", "1") => Message::Ready,
            ("STOPPING", "1") => Message::Stopping,
            ("WATCHDOG", "1") => Message::Watchdog,
            ("WATCHDOG", "trigger") => Message::WatchdogTrigger,
            ("STATUS", status) => Message::Status(status.to_owned()),
            ("MAINPID", pid) => Message::MainPid(pid.parse().ok()?),
            ("EXTEND_TIMEOUT_USEC", micros) => {
                Message::ExtendTimeout(Duration::from_micros(micros.parse().ok()?))
            }
            _ => return None,
        })
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_messages_come_in_one() {
        let messages = parse("READY=1\nSTATUS=serves 3\nFOO=bar\nMAINPID=x\nEXTEND_TIMEOUT_USEC=2000000");
        let two_seconds = Message::ExtendTimeout(Duration::from_secs(2));
        assert_eq!(messages, [Message::Ready, Message::Status("serves 3".into()), two_seconds]);
    }
}
