//! What forwarding costs on this machine: the *floor*, a loop written by hand that does nothing but write
//! headers, seal and send, and the product's own path, measured in turns within the same process.
//!
//! `cargo run --profile dist -p sala-bench` on an otherwise idle machine. Every number is the median over
//! the repetitions, in nanoseconds per packet sent; the least is in brackets.

mod floor;
mod measure;
mod receivers;
mod sys;

use measure::{Row, print_rows};
use receivers::{Receivers, Reception};

/// Repetitions of each row. Rows take turns, so that a noisy neighbour spoils all of them alike.
const REPETITIONS: usize = 15;

/// Frames forwarded in a repetition.
const FRAMES: usize = 40;

/// The core to run on: not the first, which serves most interrupts.
const CORE: usize = 1;

fn main() -> std::io::Result<()> {
    if let Err(error) = sys::pin_to(CORE) {
        eprintln!("running unpinned, so expect noise: {error}");
    }
    let mut floor = floor::Floor::new(200);
    let mut drained = Receivers::new(200, Reception::Plain)?;
    let mut coalescing = Receivers::new(200, Reception::Gro)?;
    let socket = receivers::sender()?;

    let mut rows = Vec::new();
    for repetition in 0..REPETITIONS {
        let mut cases = vec![
            ("floor k=10, build and seal only", floor.run(FRAMES, 10, None)?),
            ("floor k=10, 200 receivers drained", floor.run(FRAMES, 10, Some((&socket, &mut drained)))?),
            ("floor k=10, 200 receivers with GRO", floor.run(FRAMES, 10, Some((&socket, &mut coalescing)))?),
            ("floor k=1, 200 receivers drained", floor.run(FRAMES, 1, Some((&socket, &mut drained)))?),
        ];
        cases.extend(floor::send_calls(FRAMES, &mut drained)?);
        if repetition == 0 {
            rows = cases.iter().map(|(name, _)| Row::new(name)).collect();
        }
        for (row, (_, costs)) in rows.iter_mut().zip(cases) {
            row.add(costs);
        }
    }
    print_rows(&rows);
    Ok(())
}
