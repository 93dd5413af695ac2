//! What forwarding costs on this machine: the *floor*, a loop written by hand that does nothing but write
//! headers, seal and send, and beside it the product's own path from socket to socket, in the same process.
//!
//! `cargo run --profile dist -p sala-bench` on an otherwise idle machine. Every number is the median over
//! the repetitions, in nanoseconds per packet that leaves; the least is in brackets. Clients are real down to
//! DTLS and SRTP and decrypt everything; their work is not timed.

mod client;
mod conference;
mod floor;
mod measure;
mod receivers;
mod sys;
mod timed;

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use conference::Conference;
use floor::Floor;
use measure::{Costs, Row, clock_cost, print_rows};
use receivers::{Receivers, Reception};

/// Repetitions of each row. Rows take turns, so that a noisy neighbour spoils all of them alike.
const REPETITIONS: usize = 11;

/// Packets of a frame: what 3 Mbit/s make at 30 frames per second.
const PACKETS: usize = 10;

/// Packets that a repetition forwards at least.
const WORK: usize = 20_000;

/// The core to run on: not the first, which serves most interrupts.
const CORE: usize = 1;

fn main() -> io::Result<()> {
    if let Err(error) = sys::pin_to(CORE) {
        eprintln!("running unpinned, so expect noise: {error}");
    }
    let mut floor = FloorCases::open()?;
    let mut rooms = RoomCases::connect()?;
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..REPETITIONS {
        for (place, (name, costs)) in floor.run()?.into_iter().chain(rooms.run()?).enumerate() {
            if place == rows.len() {
                rows.push(Row::new(name));
            }
            rows[place].add(costs);
        }
    }
    print_rows(&rows, FLOOR);
    Ok(())
}

/// Frames of a repetition when each makes so many packets.
fn frames(packets: usize) -> usize {
    WORK.div_ceil(packets)
}

/// The row that the others are compared with.
const FLOOR: &str = "floor k=10, 200 receivers";

struct FloorCases {
    floor: Floor,
    drained: Receivers,
    coalescing: Receivers,
    socket: UdpSocket,
}

impl FloorCases {
    fn open() -> io::Result<FloorCases> {
        Ok(FloorCases {
            floor: Floor::new(200),
            drained: Receivers::new(200, Reception::Plain)?,
            coalescing: Receivers::new(200, Reception::Gro)?,
            socket: receivers::sender()?,
        })
    }

    fn run(&mut self) -> io::Result<Vec<(&'static str, Costs)>> {
        let FloorCases { floor, drained, coalescing, socket } = self;
        let (k10, k1) = (frames(200 * PACKETS), frames(200));
        let mut cases = vec![
            ("floor k=10, not sent", floor.run(k10, PACKETS, None)?),
            (FLOOR, floor.run(k10, PACKETS, Some((socket, drained)))?),
            ("floor k=10, 200 receivers with GRO", floor.run(k10, PACKETS, Some((socket, coalescing)))?),
            ("floor k=1, 200 receivers", floor.run(k1, 1, Some((socket, drained)))?),
        ];
        cases.extend(floor::send_calls(k10, drained)?);
        Ok(cases)
    }
}

struct RoomCases(Vec<(&'static str, Conference, usize)>, Duration);

impl RoomCases {
    fn connect() -> io::Result<RoomCases> {
        let mut cases = Vec::new();
        for (name, clients, publishers) in [
            ("room 1 to 1", 2, 1),
            ("room 1 to 50", 51, 1),
            ("room 1 to 200", 201, 1),
            ("room 1 to 500", 501, 1),
            ("room 8 by 8", 8, 8),
        ] {
            let streams = publishers * (clients - 1);
            cases.push((name, Conference::connect(clients, publishers)?, frames(streams * PACKETS)));
        }
        Ok(RoomCases(cases, clock_cost()))
    }

    fn run(&mut self) -> io::Result<Vec<(&'static str, Costs)>> {
        let RoomCases(cases, look) = self;
        let mut costs = Vec::new();
        for (name, conference, frames) in cases {
            let before = conference.received();
            let plain = conference.run(*frames, PACKETS, false)?;
            let split = conference.run(*frames, PACKETS, true)?;
            assert!(conference.received() - before >= plain.packets + split.packets, "packets were lost");
            costs.push((*name, plain.split_by(&split, *look)));
        }
        Ok(costs)
    }
}
