//! Medians and their table.

use std::time::{Duration, Instant};

/// What one repetition cost, apart from what clients did.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Costs {
    /// Forwarded packets: what all times are divided by.
    pub(crate) packets: u64,
    /// System calls that receive.
    pub(crate) receive: Duration,
    /// RTCP and timers.
    pub(crate) feedback: Duration,
    /// Decrypting, deciding, rewriting.
    pub(crate) engine: Duration,
    /// Writing headers, copying payloads and sealing.
    pub(crate) seal: Duration,
    /// Packets that `seal` was measured over.
    pub(crate) slots: u64,
    /// System calls that send, …
    pub(crate) send: Duration,
    /// … and how many.
    pub(crate) calls: u64,
}

impl Costs {
    /// Takes the part of `engine` that went into sealing out of it, at the price that `split`, a run with a
    /// look at the clock before and after each packet, found for a packet; `look` is what a look costs.
    pub(crate) fn split_by(mut self, split: &Costs, look: Duration) -> Costs {
        let each = split.seal.as_nanos() as f64 / split.slots.max(1) as f64 - look.as_nanos() as f64;
        let seal = Duration::from_nanos((each.max(0.0) * self.packets as f64) as u64).min(self.engine);
        self.seal = seal;
        self.engine -= seal;
        self
    }
}

/// What a look at the clock costs.
pub(crate) fn clock_cost() -> Duration {
    const LOOKS: u32 = 100_000;
    let begin = Instant::now();
    for _ in 0..LOOKS {
        std::hint::black_box(Instant::now());
    }
    begin.elapsed() / LOOKS
}

/// One line of the table.
pub(crate) struct Row {
    name: &'static str,
    repetitions: Vec<Costs>,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Row {
        Row { name, repetitions: Vec::new() }
    }

    pub(crate) fn add(&mut self, costs: Costs) {
        self.repetitions.push(costs);
    }

    /// Median and least of a cost per packet, in nanoseconds.
    fn per_packet(&self, cost: impl Fn(&Costs) -> Duration) -> (f64, f64) {
        let mut values: Vec<_> = self
            .repetitions
            .iter()
            .map(|costs| cost(costs).as_nanos() as f64 / costs.packets.max(1) as f64)
            .collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0])
    }
}

/// The columns: a name and the cost that it shows.
type Column = (&'static str, fn(&Costs) -> Duration);

const COLUMNS: [Column; 6] = [
    ("receive", |costs| costs.receive),
    ("feedback", |costs| costs.feedback),
    ("engine", |costs| costs.engine),
    ("seal", |costs| costs.seal),
    ("send", |costs| costs.send),
    ("total", |costs| costs.receive + costs.feedback + costs.engine + costs.seal + costs.send),
];

/// Prints all rows; the last column compares their totals with the row named `reference`.
pub(crate) fn print_rows(rows: &[Row], reference: &str) {
    let (_, total_of) = COLUMNS[COLUMNS.len() - 1];
    let reference =
        rows.iter().find(|row| row.name == reference).map_or(f64::NAN, |row| row.per_packet(total_of).0);
    print!("{:<36}", "ns per packet, median [least]");
    COLUMNS.iter().for_each(|(name, _)| print!(" {name:>13}"));
    println!(" {:>10} {:>8} {:>7}", "packets/s", "calls", "floor");
    for row in rows {
        print!("{:<36}", row.name);
        for (_, cost) in COLUMNS {
            let (median, least) = row.per_packet(cost);
            print!(" {:>13}", format!("{median:.0} [{least:.0}]"));
        }
        let (total, _) = row.per_packet(total_of);
        let calls: u64 = row.repetitions.iter().map(|costs| costs.calls).sum();
        let packets: u64 = row.repetitions.iter().map(|costs| costs.packets).sum();
        let calls = calls as f64 / packets as f64;
        println!(" {:>10.0} {calls:>8.4} {:>6.2}x", 1e9 / total, total / reference);
    }
    println!(
        "packets/s: of one core; calls: system calls that send, per packet; floor: total over the floor's"
    );
}
