//! How much of a core each process uses, read from `/proc`.

use std::collections::HashMap;
use std::time::Instant;

/// Remembers the last reading of each process.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    last: HashMap<i32, (Instant, u64, f32)>,
}

/// Shorter spans than that say nothing: the kernel counts in steps of 10 ms.
const MIN_SPAN_S: f32 = 0.5;

impl Usage {
    /// Percent of one core since the reading before; 0 for the first.
    pub(crate) fn percent(&mut self, pid: i32) -> f32 {
        let Some(ticks) = ticks(pid) else {
            self.last.remove(&pid);
            return 0.0;
        };
        let now = Instant::now();
        let (then, before, percent) = *self.last.entry(pid).or_insert((now, ticks, 0.0));
        let span = now.duration_since(then).as_secs_f32();
        if span < MIN_SPAN_S {
            return percent;
        }
        let seconds = ticks.saturating_sub(before) as f32 / rustix::param::clock_ticks_per_second() as f32;
        let percent = 100.0 * seconds / span;
        self.last.insert(pid, (now, ticks, percent));
        percent
    }
}

/// Processor time of a process, in ticks of the clock.
fn ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_time_is_found_and_that_of_no_process_is_none() {
        assert!(ticks(std::process::id() as i32).is_some());
        assert!(ticks(i32::MAX).is_none());
    }
}
