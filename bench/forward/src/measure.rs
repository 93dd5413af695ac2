//! Medians and their table.

use std::time::Duration;

/// What one repetition cost.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Costs {
    pub(crate) packets: u64,
    /// Writing headers, copying payloads and sealing.
    pub(crate) seal: Duration,
    /// System calls that send.
    pub(crate) send: Duration,
    pub(crate) calls: u64,
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

pub(crate) fn print_rows(rows: &[Row]) {
    println!(
        "{:<44} {:>14} {:>14} {:>14} {:>11} {:>13}",
        "ns per packet, median [least]", "build+seal", "send", "total", "packets/s", "calls/packet"
    );
    for row in rows {
        let seal = row.per_packet(|costs| costs.seal);
        let send = row.per_packet(|costs| costs.send);
        let total = row.per_packet(|costs| costs.seal + costs.send);
        let calls: u64 = row.repetitions.iter().map(|costs| costs.calls).sum();
        let packets: u64 = row.repetitions.iter().map(|costs| costs.packets).sum();
        let cell = |(median, least): (f64, f64)| format!("{median:.0} [{least:.0}]");
        println!(
            "{:<44} {:>14} {:>14} {:>14} {:>11.0} {:>13.4}",
            row.name,
            cell(seal),
            cell(send),
            cell(total),
            1e9 / total.0,
            calls as f64 / packets as f64
        );
    }
}
