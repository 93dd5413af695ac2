//! Clients: each wants to be in one room, joins it through any master, changes it now and then, and joins anew
//! when it is told to, or finds itself alone.

use std::time::Instant;

use cluster::control::{Admission, Input, RequestId, Route, RouteError};

use super::world::{Event, MS, State, World, version};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Where {
    Out,
    Asking {
        since: Instant,
    },
    /// On a process, through a master.
    In {
        process: usize,
        life: u32,
        incarnation: u64,
        master: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) room: String,
    pub(crate) wants: bool,
    pub(crate) at: Where,
    pub(crate) turn: u32,
}

pub(crate) struct Clients {
    pub(crate) list: Vec<Client>,
}

impl Clients {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Clients {
        let rooms = rng.usize(2..=5);
        let list = (0..rooms * 2)
            .map(|n| Client { room: format!("r{}", n % rooms), wants: true, at: Where::Out, turn: 0 })
            .collect();
        Clients { list }
    }

    pub(crate) fn any_in(&self, room: &str, process: usize, life: u32) -> bool {
        self.list.iter().any(|client| {
            client.room == room
                && matches!(client.at, Where::In { process: p, life: l, .. } if p == process && l == life)
        })
    }

    fn throw_out(&mut self, test: impl Fn(&Client) -> bool) {
        for client in self.list.iter_mut().filter(|client| test(client)) {
            client.at = Where::Out;
        }
    }

    pub(crate) fn lost_process(&mut self, process: usize, life: u32) {
        self.throw_out(
            |c| matches!(c.at, Where::In { process: p, life: l, .. } if p == process && l == life),
        );
    }

    pub(crate) fn lost_room(&mut self, process: usize, room: &str) {
        self.throw_out(|c| c.room == room && matches!(c.at, Where::In { process: p, .. } if p == process));
    }

    /// A master tells the clients that are connected through it.
    pub(crate) fn told_dead(&mut self, through: usize, node: usize, dead: u64) {
        self.throw_out(|c| {
            matches!(c.at, Where::In { process, incarnation, master, .. }
                if process == node && master == through && (incarnation == dead || dead == 0))
        });
    }

    pub(crate) fn moved(&mut self, from: usize, room: &str, to: Option<(usize, u32)>) {
        for client in self.list.iter_mut().filter(|client| client.room == room) {
            if let Where::In { process, master, .. } = client.at
                && process == from
            {
                client.at = match to {
                    Some((process, life)) => Where::In { process, life, incarnation: 0, master },
                    None => Where::Out,
                };
            }
        }
    }
}

impl World {
    /// A client's next step; it has one such event under way at any time.
    pub(crate) fn client_turn(&mut self, client: usize, turn: u32) {
        if self.clients.list[client].turn != turn {
            return;
        }
        let again = MS * self.rng.u32(100..400);
        let (room, wants, at) = {
            let c = &self.clients.list[client];
            (c.room.clone(), c.wants, c.at.clone())
        };
        match at {
            Where::Out if wants => self.ask(client, turn, room),
            Where::Asking { since } if self.now > since + 7000 * MS => {
                self.clients.list[client].at = Where::Out
            }
            Where::In { process, life, .. } if !wants => {
                self.clients.list[client].at = Where::Out;
                self.at(500 * MS, Event::RoomEmpty { process, life, room });
            }
            Where::In { process, life, .. } => {
                let p = &self.processes[process];
                let gone = p.life != life || p.state == State::Running && !p.engine.rooms.contains_key(&room);
                if gone {
                    self.clients.list[client].at = Where::Out;
                } else if p.state == State::Running && self.rng.u8(..4) == 0 {
                    self.change_room(process, &room);
                }
            }
            _ => {}
        }
        self.at(again, Event::Client { client, turn });
    }

    fn ask(&mut self, client: usize, turn: u32, room: String) {
        let master = self.rng.usize(..self.masters);
        if self.processes[master].state == State::Down {
            return;
        }
        self.clients.list[client].at = Where::Asking { since: self.now };
        let id = self.request(client, turn);
        let life = self.processes[master].life;
        self.input(master, life, Input::Route { id, room, create: true });
    }

    pub(crate) fn routed(&mut self, master: usize, id: RequestId, result: Result<Route, RouteError>) {
        let Some((client, _)) = self.routes.remove(&id) else { return };
        if !matches!(self.clients.list[client].at, Where::Asking { .. }) {
            return;
        }
        let Ok(route) = result else {
            self.note(|| format!("client {client}: {result:?}"));
            self.clients.list[client].at = Where::Out;
            return;
        };
        self.enter(client, master, &route);
    }

    /// The master forwards the join; a node that has to wait for the store's news is asked as if it had waited.
    fn enter(&mut self, client: usize, master: usize, route: &Route) {
        self.clients.list[client].at = Where::Out;
        let Some(process) = self.index(&route.node) else { return };
        let cut = self.cut.contains(&(master, process)) || self.cut.contains(&(process, master));
        if cut || self.processes[process].state != State::Running {
            return;
        }
        let room = self.clients.list[client].room.clone();
        let waited = self.rng.bool();
        let now = self.now;
        let Some(member) = self.processes[process].member.as_mut() else { return };
        let (admission, outputs) = member.admit(now, &room, &route.epoch, waited);
        let incarnation = member.incarnation();
        self.carry_out(process, outputs);
        self.note(|| format!("client {client} to {room} at {process} {}: {admission:?}", route.epoch));
        if let Admission::Serve { description, .. } = admission {
            self.processes[process].engine.rooms.entry(room).or_insert(version(&description));
            let life = self.processes[process].life;
            self.clients.list[client].at = Where::In { process, life, incarnation, master };
        }
        self.check(process);
    }
}
