//! What lies between processes: links that are cut or slow, and the way to the store.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::control::{Input, Message, OpId, Section, StoreAnswer, StoreOp};

use super::sim_store::CALL;
use super::world::{Event, MS, STORE_DEADLINE, World};

impl World {
    pub(crate) fn delay(&mut self, from: usize, to: usize) -> Duration {
        let base = MS * self.rng.u32(1..4);
        match self.slow.get(&(from, to)) {
            Some(slow) if from != to => base + slow.mul_f64(self.rng.f64()),
            _ => base,
        }
    }

    /// Over a TCP connection: in order; what a partition holds up may come when it heals, or never.
    pub(crate) fn send(&mut self, from: usize, to: usize, message: Message) {
        let life = self.processes[to].life;
        let input = Input::Message(message);
        if self.cut.contains(&(from, to)) {
            if self.rng.u8(..4) == 0 {
                self.held_back.entry((from, to)).or_default().push((life, input));
            }
            return;
        }
        self.deliver(from, to, life, input);
    }

    pub(crate) fn deliver(&mut self, from: usize, to: usize, life: u32, input: Input) {
        let arrival = self.now + self.delay(from, to);
        let last = self.last_arrival.get(&(from, to)).copied().unwrap_or(arrival);
        let arrival = arrival.max(last);
        self.last_arrival.insert((from, to), arrival);
        self.at(arrival - self.now, Event::Input { process: to, life, input });
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
        for ((from, to), inputs) in std::mem::take(&mut self.held_back) {
            for (life, input) in inputs {
                self.deliver(from, to, life, input);
            }
        }
    }

    /// Hosts whose members of the store form a majority that hears each other; one member beside each master.
    pub(crate) fn component(&self) -> Option<BTreeSet<usize>> {
        if self.store_down {
            return None;
        }
        let hears = |a: usize, b: usize| a == b || !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a));
        (0..self.masters).find_map(|leader| {
            let followers: BTreeSet<usize> =
                (0..self.masters).filter(|member| hears(leader, *member)).collect();
            (followers.len() > self.masters / 2).then_some(followers)
        })
    }

    pub(crate) fn reaches_store(&self, process: usize) -> bool {
        let hears =
            |b: usize| process == b || !self.cut.contains(&(process, b)) && !self.cut.contains(&(b, process));
        self.component().is_some_and(|members| members.into_iter().any(hears))
    }

    pub(crate) fn send_to_store(&mut self, process: usize, op: OpId, call: StoreOp) {
        let life = self.processes[process].life;
        let flaky = self.store_flaky && self.rng.u8(..8) == 0;
        let delay = match flaky && self.rng.bool() {
            true => MS * self.rng.u32(10..1500),
            false => CALL,
        };
        let answer = !(flaky && self.rng.bool());
        self.at(delay, Event::StoreCall { process, life, op, call, answer });
    }

    pub(crate) fn store_call(&mut self, process: usize, life: u32, op: OpId, call: &StoreOp, answer: bool) {
        // What was sent takes effect, even if the sender has died meanwhile.
        let reached = self.reaches_store(process);
        let (result, delay) = match reached {
            true => {
                self.check_write(call);
                let before = self.store.history_len();
                let result = self.store.execute(self.now, call);
                if self.store.history_len() != before {
                    self.pump_all();
                }
                (result, CALL)
            }
            false => (StoreAnswer::Unavailable, STORE_DEADLINE),
        };
        let input = match answer {
            true => Input::Store { op, answer: result },
            false => Input::Store { op, answer: StoreAnswer::Unavailable },
        };
        self.at(delay, Event::Input { process, life, input });
    }

    pub(crate) fn pump_all(&mut self) {
        for process in 0..self.processes.len() {
            let life = self.processes[process].life;
            let delay = self.processes[process].watch_delay + MS * self.rng.u32(1..5);
            self.at(delay, Event::Pump { process, life });
        }
    }

    /// Brings a process what it has not seen of the store.
    pub(crate) fn pump(&mut self, process: usize, life: u32) {
        if !self.alive(process, life) {
            return;
        }
        if !self.reaches_store(process) {
            return self.at(200 * MS, Event::Pump { process, life });
        }
        for section in Section::ALL {
            let cursor = self.processes[process].cursors[section as usize];
            let compacted = self.rng.u8(..) == 0;
            let input = match cursor {
                Some(mut at) if !compacted => {
                    let batch = self.store.changes(section, &mut at);
                    self.processes[process].cursors[section as usize] = Some(at);
                    batch.map(|batch| Input::Changes { section, batch })
                }
                _ => {
                    self.processes[process].cursors[section as usize] = Some(self.store.history_len());
                    let (entries, revision) = (self.store.range(section), self.store.revision);
                    Some(Input::Snapshot { section, entries, revision })
                }
            };
            if let Some(input) = input {
                self.input(process, life, input);
            }
        }
    }
}
