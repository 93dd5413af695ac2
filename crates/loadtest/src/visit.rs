//! A caller with its sockets: it joins, stays, resumes when its socket breaks, comes back when it must, and leaves.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::transport::DtlsIdentity;
use rtc::{MAX_DATAGRAM, Path, Proto};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::Target;
use crate::caller::{Caller, Farewell, Noted, Part};
use crate::figures::Tally;
use crate::signalling::{Heard, Signalling};

/// Before each try to connect, in order (as SDKs do); after the last the caller has failed.
const RETRIES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(300),
    Duration::from_millis(1_200),
    Duration::from_millis(2_700),
    Duration::from_millis(4_800),
    Duration::from_millis(7_000),
];

/// Tries to resume, before a new join.
const RESUMES: usize = 3;

/// A socket that stays silent for three pings is dead.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(15);

/// Who joins and has no media by then has failed.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) struct Visit {
    target: Arc<Target>,
    identity: Arc<DtlsIdentity>,
    tally: Arc<Mutex<Tally>>,
    part: Part,
    local: SocketAddr,
    udp: UdpSocket,
    caller: Caller,
    signalling: Option<Signalling>,
    /// When to try again.
    retry: Option<Instant>,
    tries: usize,
    began: Instant,
    joined: bool,
    heard_last: Instant,
    ping_due: Instant,
}

impl Visit {
    pub(crate) async fn new(
        target: Arc<Target>,
        identity: Arc<DtlsIdentity>,
        tally: Arc<Mutex<Tally>>,
        part: Part,
    ) -> io::Result<Visit> {
        let any = if target.local.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let udp = UdpSocket::bind(any).await?;
        let local = SocketAddr::new(target.local, udp.local_addr()?.port());
        let now = Instant::now();
        let caller = Caller::new(part.clone(), &identity, local, now);
        Ok(Visit {
            target,
            identity,
            tally,
            part,
            local,
            udp,
            caller,
            signalling: None,
            retry: Some(now),
            tries: 0,
            began: now,
            joined: false,
            heard_last: now,
            ping_due: now + PING_INTERVAL,
        })
    }

    /// Until `end` says so, or the caller gives up.
    pub(crate) async fn run(mut self, mut end: watch::Receiver<bool>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let due = self.caller.next_due().into_iter().chain(self.retry).chain([self.ping_due]).min();
            let due = due.unwrap_or(self.ping_due);
            tokio::select! {
                biased;
                () = ended(&mut end) => break,
                received = self.udp.recv_from(&mut buffer) => {
                    let mut received = received.ok();
                    // All that is there, then one look at everything else.
                    while let Some((bytes, from)) = received {
                        let path = Path { proto: Proto::Udp, local: self.local, remote: from };
                        self.caller.datagram(Instant::now(), &path, &mut buffer[..bytes]);
                        received = self.udp.try_recv_from(&mut buffer).ok();
                    }
                }
                heard = hear(&mut self.signalling) => self.heard(heard),
                () = tokio::time::sleep_until(due.into()) => {}
            }
            let now = Instant::now();
            self.caller.tick(now);
            if !self.connect_again(now) {
                return;
            }
            self.flush(now);
        }
        self.leave().await;
    }

    fn heard(&mut self, heard: Heard) {
        let now = Instant::now();
        self.heard_last = now;
        match heard {
            Heard::Message(response) => {
                let Some(message) = response.message else { return };
                if let Err(error) = self.caller.told(now, message) {
                    self.tally().error(error);
                }
            }
            Heard::Closed(reason) => {
                if let Some(reason) = reason {
                    self.tally().error(reason);
                }
                self.signalling = None;
                self.retry = Some(now + RETRIES[self.tries.min(RETRIES.len() - 1)]);
            }
        }
    }

    /// Opens a socket when it is time to. False: this caller has given up.
    fn connect_again(&mut self, now: Instant) -> bool {
        if now >= self.ping_due {
            self.ping_due = now + PING_INTERVAL;
            self.caller.ping();
            if self.signalling.is_some() && now.duration_since(self.heard_last) > SILENCE {
                self.tally().error("the server fell silent");
                self.signalling = None;
                self.retry = Some(now);
            }
        }
        let late = !self.joined && now.duration_since(self.began) > JOIN_TIMEOUT;
        if late {
            self.tally().error("no media within 15 s of a join");
        }
        if late || self.tries >= RETRIES.len() || self.caller.farewell == Farewell::Stay {
            self.tally().report.joins_failed += u64::from(!self.joined);
            return false;
        }
        if self.retry.is_none_or(|at| now < at) {
            return true;
        }
        self.retry = None;
        let resumes = !self.caller.sid.is_empty();
        if resumes && (self.caller.farewell == Farewell::Rejoin || self.tries >= RESUMES) {
            self.rejoin(now);
        }
        self.tries += 1;
        self.heard_last = now;
        let request = self.caller.join_request(now);
        let token = self.target.token(&self.part.room, &self.part.identity);
        self.signalling = Some(Signalling::open(&self.target.url, &token, &request));
        true
    }

    fn rejoin(&mut self, now: Instant) {
        let placeholder = Caller::new(self.part.clone(), &self.identity, self.local, now);
        let before = std::mem::replace(&mut self.caller, placeholder);
        self.caller = before.anew(&self.identity, self.local, now);
        self.tally().report.rejoins += 1;
    }

    /// Sends what the caller wants to say, and counts what it noted.
    fn flush(&mut self, now: Instant) {
        while let Some((path, datagram)) = self.caller.out.datagrams.pop_front() {
            // A full socket loses datagrams, as a network does.
            let _ = self.udp.try_send_to(&datagram, path.remote);
        }
        if let Some(signalling) = &self.signalling {
            self.caller.asks.drain(..).for_each(|ask| signalling.ask(ask));
        }
        if self.caller.noted.is_empty() {
            return;
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(noted) = self.caller.noted.pop_front() {
            let report = &mut tally.report;
            match noted {
                Noted::Connected => {
                    self.tries = 0;
                    if !self.joined {
                        self.joined = true;
                        report.joins += 1;
                        tally.join.add(now.duration_since(self.began));
                    }
                }
                Noted::Resumed => {
                    self.tries = 0;
                    report.resumes += 1;
                }
                Noted::Frame(gap) => tally.gap(&self.part.room, unix_ms(), gap),
                Noted::Lost(packets) => report.packets_lost += packets,
                Noted::Departure => report.departures_seen += 1,
                Noted::MessageSent => report.messages_sent += 1,
                Noted::MessageReceived => report.messages_received += 1,
                Noted::MessagesLost(count) => report.messages_lost += count,
            }
        }
    }

    /// Says goodbye; a track that is silent to the end had a gap until the end.
    async fn leave(mut self) {
        let now = Instant::now();
        let silences: Vec<_> = self.caller.silences(now).collect();
        silences.into_iter().for_each(|gap| self.caller.noted.push_back(Noted::Frame(gap)));
        self.caller.leave();
        self.flush(now);
        if !self.joined {
            self.tally().report.joins_failed += 1;
        }
        if let Some(mut signalling) = self.signalling.take() {
            // The server closes the socket when it has read the farewell.
            let closed = async { while let Some(Heard::Message(_)) = signalling.heard.recv().await {} };
            let _ = tokio::time::timeout(Duration::from_secs(1), closed).await;
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ended(end: &mut watch::Receiver<bool>) {
    // The sender's end is the end, too.
    let _ = end.wait_for(|ended| *ended).await;
}

async fn hear(signalling: &mut Option<Signalling>) -> Heard {
    match signalling {
        Some(signalling) => signalling.heard.recv().await.unwrap_or(Heard::Closed(None)),
        None => std::future::pending().await,
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
