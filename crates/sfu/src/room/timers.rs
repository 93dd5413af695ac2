//! The room's time: transports have timers of their own, everything else is looked at in ticks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use livekit_protocol::DisconnectReason;
use livekit_protocol::participant_info::State;
use rtc::Egress;

use super::join::{JOIN_TIMEOUT, RESUME_TIMEOUT, TOKEN_REFRESH};
use super::{Life, Room};
use crate::api::TransportId;
use crate::participant::{ParticipantKey, Signal, Target};

/// How often a room with participants looks at speakers, layers and stalled work.
const TICK: Duration = Duration::from_millis(100);

/// Wake-ups of the room, none of which carries more than its time.
pub(super) struct Timers {
    transports: BinaryHeap<Reverse<(Instant, TransportId)>>,
    wakeups: BinaryHeap<Reverse<Instant>>,
    next_tick: Instant,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Timers {
        let mut timers =
            Timers { transports: BinaryHeap::new(), wakeups: BinaryHeap::new(), next_tick: now + TICK };
        timers.schedule(now + TICK);
        timers
    }

    /// Wakes the room at `at`.
    pub(super) fn schedule(&mut self, at: Instant) {
        self.wakeups.push(Reverse(at));
    }
}

impl Room {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.life == Life::Finished {
            return None;
        }
        let transport = self.timers.transports.peek().map(|Reverse((at, _))| *at);
        let wakeup = self.timers.wakeups.peek().map(|Reverse(at)| *at);
        let tick = (!self.participants.is_empty()).then_some(self.timers.next_tick);
        [transport, wakeup, tick].into_iter().flatten().min()
    }

    pub(super) fn timeout(&mut self, now: Instant, out: &mut dyn Egress) {
        self.serve_transports(now, out);
        let mut due = false;
        while self.timers.wakeups.peek().is_some_and(|Reverse(at)| *at <= now) {
            self.timers.wakeups.pop();
            due = true;
        }
        if self.timers.next_tick <= now {
            self.timers.next_tick = now + TICK;
            self.tick_media(now);
            due = true;
        }
        if due {
            self.tick_control(now);
            self.serve_transports(now, out);
        }
    }

    /// Gives every transport that is due its turn, until none is.
    pub(super) fn serve_transports(&mut self, now: Instant, out: &mut dyn Egress) {
        while let Some(&Reverse((at, id))) = self.timers.transports.peek() {
            if at > now {
                return;
            }
            self.timers.transports.pop();
            let Some(&(key, target)) = self.transports.get(&id) else { continue };
            let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
                continue;
            };
            if transport.queued == Some(at) {
                transport.queued = None;
            }
            transport.peer.handle_timeout(now, out);
            self.after_peer(now, key, target);
        }
    }

    /// Has a transport served at once: something was queued on it from the outside.
    pub(super) fn wake_transport(&mut self, now: Instant, key: ParticipantKey, target: Target) {
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        if transport.queued.is_none_or(|queued| queued > now) {
            transport.queued = Some(now);
            self.timers.transports.push(Reverse((now, transport.id)));
        }
    }

    /// Queues a transport for its next timer. A queue entry that is overtaken by an earlier one is
    /// harmless: the transport finds nothing to do.
    pub(super) fn requeue_transport(&mut self, now: Instant, key: ParticipantKey, target: Target) {
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        let Some(due) = transport.peer.poll_timeout() else { return };
        // A timer that is due already waits for the next millisecond, so that a transport cannot spin.
        let due = if due <= now { now + Duration::from_millis(1) } else { due };
        if transport.queued.is_none_or(|queued| queued > due) {
            transport.queued = Some(due);
            self.timers.transports.push(Reverse((due, transport.id)));
        }
    }

    fn tick_control(&mut self, now: Instant) {
        if self.moving.is_some() {
            return self.check_moving(now);
        }
        self.end_expected(now);
        self.reunite(now);
        self.tell_description(now);
        self.check_empty(now);
        if self.life == Life::Finished {
            return;
        }
        let keys: Vec<_> = self.participants.keys().copied().collect();
        for key in keys {
            self.check_participant(now, key);
            self.check_offer(now, key);
            self.check_sections(now, key);
        }
        self.check_wanted(now);
        self.flush_updates(now);
    }

    fn check_participant(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if let Some(arrival) = participant.arrival.as_ref().filter(|arrival| !arrival.resumed) {
            if now >= arrival.until && participant.session().is_none() {
                self.remove(now, key, DisconnectReason::ConnectionTimeout, None, true);
            }
            return;
        }
        if participant.settles_until.take_if(|until| now >= *until).is_some()
            && participant.session().is_none()
            && !participant.media_lives()
        {
            return self.remove(now, key, DisconnectReason::ConnectionTimeout, None, true);
        }
        if participant.state != State::Active && now >= participant.joined_at + JOIN_TIMEOUT {
            let action = livekit_protocol::leave_request::Action::Disconnect;
            return self.remove(now, key, DisconnectReason::JoinFailure, Some(action), true);
        }
        if now >= participant.next_token_refresh {
            participant.next_token_refresh = now + TOKEN_REFRESH;
            self.send_refresh_token(key);
        }
        self.check_connection(now, key);
    }

    /// A participant whose media path failed is asked to resume, and removed when it does not.
    fn check_connection(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let lost_since = participant.transports().filter_map(|(_, transport)| transport.lost_since).min();
        let Some(lost_since) = lost_since else { return };
        match participant.signal {
            Signal::Connected(session) if participant.protocol() > 12 => {
                participant.signal = Signal::Lost { since: now };
                self.sessions.remove(&session);
                let action = livekit_protocol::leave_request::Action::Resume;
                let message = super::join::leave(DisconnectReason::ConnectionTimeout, action);
                self.send_session(session, message);
                self.output(crate::RoomOutput::Session(session, crate::SessionOutput::Abort));
            }
            Signal::Connected(_) => {}
            Signal::Lost { since } if now >= since.max(lost_since) + RESUME_TIMEOUT => {
                self.remove(now, key, DisconnectReason::ConnectionTimeout, None, true);
            }
            Signal::Lost { .. } => {}
        }
    }
}
