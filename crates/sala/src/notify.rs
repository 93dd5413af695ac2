//! What systemd is told of a server: that it is ready, that it lives, that it stops. Without systemd nobody is told
//! anything.

use std::convert::Infallible;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Who started us, if it wants to know.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How long systemd waits for a sign of life before it kills us.
    watchdog: Option<Duration>,
}

impl Notify {
    /// As systemd says it: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    pub(crate) fn from_env() -> Notify {
        let variable = |name: &str| std::env::var(name).ok();
        let number = |name: &str| variable(name).and_then(|text| text.parse::<u64>().ok());
        let socket = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| *us > 0 && for_us).map(Duration::from_micros);
        match socket {
            None => Notify { socket: None, watchdog: None },
            Some(path) => Notify::to(&path, watchdog).unwrap_or_else(|error| {
                tracing::warn!(path, %error, "systemd cannot be told anything");
                Notify { socket: None, watchdog: None }
            }),
        }
    }

    fn to(path: &str, watchdog: Option<Duration>) -> io::Result<Notify> {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notify { socket: Some((socket, address)), watchdog })
    }

    /// Clients can connect.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// No new work comes in; what is there moves away or ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Gives signs of life for as long as `alive` answers in time. Where it does not, systemd kills and restarts the
    /// process: a server that hangs is worse than one that begins anew.
    pub(crate) async fn watch<A>(self: Arc<Self>, alive: impl Fn() -> A) -> Infallible
    where
        A: Future<Output = Result<(), String>>,
    {
        let Some(patience) = self.watchdog else { return std::future::pending().await };
        let mut tick = tokio::time::interval(patience / 4);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.pulse(patience / 2, alive()).await;
        }
    }

    async fn pulse(&self, deadline: Duration, alive: impl Future<Output = Result<(), String>>) {
        match tokio::time::timeout(deadline, alive).await {
            Ok(Ok(())) => self.tell("WATCHDOG=1"),
            Ok(Err(problem)) => {
                tracing::error!(problem, "this server does not work; systemd will restart it")
            }
            Err(_) => {
                tracing::error!(?deadline, "this server does not answer itself; systemd will restart it")
            }
        }
    }

    fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!(message, %error, "systemd was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn systemd(name: &str) -> (UnixDatagram, Notify) {
        let name = format!("sala-notify-test-{name}-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        (socket, Notify::to(&format!("@{name}"), Some(Duration::from_secs(20))).unwrap())
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn systemd_hears_of_the_start_and_of_the_stop() {
        let (socket, notify) = systemd("ready");
        notify.ready();
        assert_eq!(heard(&socket).as_deref(), Some("READY=1"));
        notify.stopping();
        assert_eq!(heard(&socket).as_deref(), Some("STOPPING=1"));
        assert_eq!(heard(&socket), None);
    }

    #[tokio::test]
    async fn only_a_server_that_answers_gives_signs_of_life() {
        let (socket, notify) = systemd("pulse");
        notify.pulse(Duration::from_secs(5), async { Ok(()) }).await;
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1"));
        notify.pulse(Duration::from_secs(5), async { Err("a thread has ended".to_owned()) }).await;
        assert_eq!(heard(&socket), None);
        notify.pulse(Duration::from_millis(10), std::future::pending()).await;
        assert_eq!(heard(&socket), None, "a server that hangs");
    }

    #[test]
    fn nobody_listening_is_no_harm() {
        let notify = Notify::to("/nowhere/notify", None).unwrap();
        notify.ready();
        Notify { socket: None, watchdog: None }.ready();
    }
}
