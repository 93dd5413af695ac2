//! What happened, for the view and as a file: commands, faults, ends of processes, and what masters tell.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::snapshot::{EventKind, EventLine, MAX_EVENTS};
use cluster::status::Event;

/// Keys of masters' events that are remembered, so that each is told once. Masters repeat their last 256 at most.
const MAX_KEYS: usize = 4096;

/// The last events, and a file with all of them.
#[derive(Debug)]
pub(crate) struct Journal {
    lines: VecDeque<EventLine>,
    keys: HashSet<String>,
    order: VecDeque<String>,
    file: File,
    /// Printed as well, where no view shows them.
    pub(crate) echo: bool,
}

impl Journal {
    /// An empty one, written to a file as lines of JSON.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Journal { lines: VecDeque::new(), keys: HashSet::new(), order: VecDeque::new(), file, echo: true })
    }

    /// Notes something that happens now.
    pub(crate) fn note(&mut self, kind: EventKind, text: impl Into<String>) {
        self.add(EventLine { at_ms: unix_ms(), kind, text: text.into() });
    }

    /// Notes what a master tells, once.
    pub(crate) fn merge(&mut self, events: &[Event]) {
        for event in events {
            let key = event.what.key().unwrap_or_else(|| format!("{} {:?}", event.at_ms, event.what));
            if !self.keys.insert(key.clone()) {
                continue;
            }
            self.order.push_back(key);
            if self.order.len() > MAX_KEYS {
                self.order.pop_front().map(|oldest| self.keys.remove(&oldest));
            }
            self.add(EventLine { at_ms: event.at_ms, kind: EventKind::Cluster, text: event.what.text() });
        }
    }

    /// The last ones, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &EventLine> {
        self.lines.iter()
    }

    fn add(&mut self, line: EventLine) {
        if self.echo {
            println!("{} {}", clock(line.at_ms), line.text);
        }
        if let Ok(mut json) = serde_json::to_string(&line) {
            json.push('\n');
            // A full disk must not end the cluster: the view has the event all the same.
            let _ = self.file.write_all(json.as_bytes());
        }
        // Masters tell of things up to a second late.
        let later = self.lines.iter().rev().take_while(|other| other.at_ms > line.at_ms).count();
        self.lines.insert(self.lines.len() - later, line);
        if self.lines.len() > MAX_EVENTS {
            self.lines.pop_front();
        }
    }
}

/// Now, as Unix time.
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Time of the day (UTC) as `12:34:56.789`.
pub(crate) fn clock(unix_ms: i64) -> String {
    let ms = unix_ms.rem_euclid(86_400_000);
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::status::What;

    #[test]
    fn what_two_masters_tell_is_noted_once_and_in_order() {
        let path = std::env::temp_dir().join(format!("sala-journal-test-{}", std::process::id()));
        let mut journal = Journal::create(&path).unwrap();
        journal.echo = false;
        journal.note(EventKind::Fault, "a is killed");
        let dead =
            |after_ms| What::NodeDead { node: "a".into(), incarnation: 1, why: "refused".into(), after_ms };
        journal.merge(&[Event { at_ms: 20, what: dead(400) }, Event { at_ms: 10, what: What::StoreLost }]);
        journal.merge(&[Event { at_ms: 25, what: dead(420) }]);
        let times: Vec<_> = journal.lines().map(|line| line.at_ms).collect();
        assert_eq!((times.len(), &times[..2]), (3, &[10, 20][..]));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        std::fs::remove_file(path).unwrap();
        assert_eq!(clock(86_400_000 + 3_661_001), "01:01:01.001");
    }
}
