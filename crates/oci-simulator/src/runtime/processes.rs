//! The host's processes, by what `/proc` says: whose they are, what they use, and how to end them.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What every process of a machine has in its environment.
pub(crate) const INSTANCE: &str = "SIM_INSTANCE";

/// Processes whose environment has all of these, but this one.
pub(crate) fn marked(marks: &[(&str, &str)]) -> Vec<Pid> {
    let wanted: Vec<Vec<u8>> =
        marks.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
    let own = std::process::id() as i32;
    let is_marked = |pid: &i32| {
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
        let mut entries = environment.split(|byte| *byte == 0);
        *pid != own
            && wanted.iter().all(|mark| entries.clone().any(|entry| entry == mark))
            && entries.next().is_some()
    };
    all().filter(is_marked).filter_map(Pid::from_raw).collect()
}

fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ends all processes so marked, those too that they start meanwhile. Blocks until they are gone, a fifth of a second
/// at most.
pub(crate) fn kill_marked(marks: &[(&str, &str)]) {
    for _ in 0..100 {
        let found = marked(marks);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether it is a machine's supervisor.
pub(crate) fn is_init(pid: Pid) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else { return false };
    line.split(|byte| *byte == 0).nth(1) == Some(b"machine")
}

/// A process and what it has used.
#[derive(Clone, Copy, Debug)]
struct Stat {
    parent: i32,
    seconds: f64,
}

/// Every process of the host.
pub(crate) struct Table {
    stats: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
}

impl Table {
    /// As it is now.
    pub(crate) fn read() -> Table {
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        let stats: HashMap<i32, Stat> = all().filter_map(|pid| Some((pid, stat(pid, ticks)?))).collect();
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, stat) in &stats {
            children.entry(stat.parent).or_default().push(*pid);
        }
        Table { stats, children }
    }

    /// A process and all below it, with the processor seconds that each has used.
    pub(crate) fn tree(&self, root: i32) -> HashMap<i32, f64> {
        let mut out = HashMap::new();
        let mut open = vec![root];
        while let Some(pid) = open.pop() {
            let Some(stat) = self.stats.get(&pid) else { continue };
            if out.insert(pid, stat.seconds).is_none() {
                open.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        out
    }
}

fn stat(pid: i32, ticks: f64) -> Option<Stat> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name may have spaces and brackets.
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<i64>().ok();
    Some(Stat { parent: number(1)? as i32, seconds: (number(11)? + number(12)?) as f64 / ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_process_is_found_and_ended_with_its_children() {
        let mark = format!("test-{}", std::process::id());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 1000 & wait"])
            .env(INSTANCE, &mark)
            .spawn()
            .unwrap();
        let marks = [(INSTANCE, mark.as_str())];
        while marked(&marks).len() < 2 {
            std::thread::yield_now();
        }
        let tree = Table::read().tree(child.id() as i32);
        assert_eq!(tree.len(), 2, "the shell and its sleep");
        kill_marked(&marks);
        child.wait().unwrap();
        assert!(marked(&marks).is_empty());
    }
}
