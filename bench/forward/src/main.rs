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

use conference::Conference;
use measure::{Row, clock_cost, print_rows};
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
    print_rows(&floor_rows()?);
    print_rows(&forward_rows()?);
    Ok(())
}

/// Frames of a repetition when each makes so many packets.
fn frames(packets: usize) -> usize {
    WORK.div_ceil(packets)
}

fn floor_rows() -> io::Result<Vec<Row>> {
    let mut floor = floor::Floor::new(200);
    let mut drained = Receivers::new(200, Reception::Plain)?;
    let mut coalescing = Receivers::new(200, Reception::Gro)?;
    let socket = receivers::sender()?;
    let (k10, k1) = (frames(200 * PACKETS), frames(200));
    let mut rows = Vec::new();
    for repetition in 0..REPETITIONS {
        let mut cases = vec![
            ("floor k=10, not sent", floor.run(k10, 10, None)?),
            ("floor k=10, 200 receivers", floor.run(k10, 10, Some((&socket, &mut drained)))?),
            ("floor k=10, 200 receivers with GRO", floor.run(k10, 10, Some((&socket, &mut coalescing)))?),
            ("floor k=1, 200 receivers", floor.run(k1, 1, Some((&socket, &mut drained)))?),
        ];
        cases.extend(floor::send_calls(k10, &mut drained)?);
        if repetition == 0 {
            rows = cases.iter().map(|(name, _)| Row::new(name)).collect();
        }
        for (row, (_, costs)) in rows.iter_mut().zip(cases) {
            row.add(costs);
        }
    }
    Ok(rows)
}

fn forward_rows() -> io::Result<Vec<Row>> {
    let look = clock_cost();
    let mut conferences = Vec::new();
    for (name, clients, publishers, reception) in [
        ("room 1 to 1", 2, 1, Reception::Plain),
        ("room 1 to 50", 51, 1, Reception::Plain),
        ("room 1 to 500", 501, 1, Reception::Plain),
        ("room 8 by 8", 8, 8, Reception::Plain),
        ("room 1 to 200", 201, 1, Reception::Plain),
    ] {
        let conference = Conference::connect(clients, publishers, reception)?;
        let streams = publishers * (clients - 1);
        conferences.push((Row::new(name), conference, frames(streams * PACKETS)));
    }
    for _ in 0..REPETITIONS {
        for (row, conference, frames) in &mut conferences {
            let before = conference.received();
            let plain = conference.run(*frames, PACKETS, false)?;
            let split = conference.run(*frames, PACKETS, true)?;
            assert!(conference.received() - before >= plain.packets + split.packets, "packets were lost");
            row.add(plain.split_by(&split, look));
        }
    }
    Ok(conferences.into_iter().map(|(row, ..)| row).collect())
}
