//! How busy this machine is, from `/proc`.

use std::fs;

use crate::record::Load;

/// Fills in what the machine knows of a [`Load`]; the rest comes from the engine. Elsewhere than on Linux both
/// figures stay 0.
#[derive(Debug, Default)]
pub struct LoadMeter {
    /// Busy and all ticks of all cores at the last call.
    before: Option<(u64, u64)>,
}

impl LoadMeter {
    /// CPU use since the last call, and the load average, in `load`.
    pub fn measure(&mut self, load: &mut Load) {
        if let Some(now) = fs::read_to_string("/proc/stat").ok().and_then(|text| cpu_ticks(&text)) {
            if let Some((busy, all)) = self.before
                && now.1 > all
            {
                load.cpu = now.0.saturating_sub(busy) as f32 / (now.1 - all) as f32;
            }
            self.before = Some(now);
        }
        if let Some(average) = fs::read_to_string("/proc/loadavg").ok().and_then(|text| load_average(&text)) {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            load.sysload = average / cores as f32;
        }
    }
}

/// Busy and all ticks: the line `cpu user nice system idle iowait irq softirq steal …`.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

fn load_average(loadavg: &str) -> Option<f32> {
    loadavg.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_as_the_kernel_writes_them() {
        let stat = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n";
        assert_eq!(cpu_ticks(stat), Some((150, 1000)));
        assert_eq!(load_average("0.52 0.58 0.59 1/389 12345\n"), Some(0.52));
        assert_eq!(cpu_ticks("intr 5"), None);
    }
}
