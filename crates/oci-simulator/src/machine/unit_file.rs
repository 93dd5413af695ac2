//! Unit files: `[Section]`, `Key=value`, line continuations, drop-ins.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a unit's files say, key by key in their order.
#[derive(Clone, Default, Debug)]
pub(super) struct UnitFile {
    entries: Vec<(String, String, String)>,
}

/// Longest file that is read.
const MAX_BYTES: u64 = 256 << 10;

impl UnitFile {
    /// Reads a unit and its drop-ins. None when there is no such unit.
    pub(super) fn load(root: &Path, unit: &str) -> Option<UnitFile> {
        let path = path(root, unit)?;
        let mut file = UnitFile::default();
        file.add(&text(&path)?);
        let directories = [directory(root), root.join("run/systemd/system")];
        for directory in directories.iter().map(|directory| directory.join(format!("{unit}.d"))) {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
            files.sort();
            for drop_in in files {
                file.add(&text(&drop_in)?);
            }
        }
        Some(file)
    }

    /// Adds a text's entries. An empty value takes away what was before, as systemd has it for lists.
    pub(super) fn add(&mut self, text: &str) {
        let mut section = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.trim().to_owned();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            while line.ends_with('\\') {
                line.pop();
                let Some(more) = lines.next() else { break };
                if !more.trim_start().starts_with(['#', ';']) {
                    line.push(' ');
                    line.push_str(more.trim());
                }
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                if value.is_empty() {
                    self.entries.retain(|(of, known, _)| *of != section || *known != key);
                } else {
                    self.entries.push((section.clone(), key, value));
                }
            }
        }
    }

    /// All values of a key.
    pub(super) fn all<'a>(&'a self, section: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
        let entries = self.entries.iter().filter(move |(of, known, _)| of == section && known == key);
        entries.map(|(_, _, value)| value.as_str())
    }

    /// The last value of a key.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .rev()
            .find(|(of, known, _)| of == section && known == key)
            .map(|(_, _, value)| &**value)
    }

    /// A list of words, over all values.
    pub(super) fn words(&self, section: &str, key: &str) -> Vec<String> {
        self.all(section, key).flat_map(str::split_whitespace).map(str::to_owned).collect()
    }

    pub(super) fn is_true(&self, section: &str, key: &str) -> bool {
        self.last(section, key).is_some_and(|value| ["yes", "true", "on", "1"].contains(&value))
    }

    /// A time span; `infinity` is none at all.
    pub(super) fn span(&self, section: &str, key: &str, otherwise: Duration) -> Option<Duration> {
        match self.last(section, key) {
            None => Some(otherwise),
            Some("infinity") => None,
            Some(value) => Some(span(value).unwrap_or(otherwise)),
        }
    }
}

/// `5`, `5s`, `500ms`, `1min 30s`
fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for word in text.split_whitespace() {
        let at = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let number: f64 = word[..at].parse().ok()?;
        let seconds = match &word[at..] {
            "" | "s" | "sec" | "second" | "seconds" => number,
            "ms" | "msec" => number / 1e3,
            "us" | "usec" => number / 1e6,
            "m" | "min" | "minute" | "minutes" => number * 60.0,
            "h" | "hr" | "hour" | "hours" => number * 3600.0,
            "d" | "day" | "days" => number * 86_400.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(seconds).ok()?;
    }
    Some(total)
}

/// Where units are, and links of those that are enabled.
pub(super) fn directory(root: &Path) -> PathBuf {
    root.join("etc/systemd/system")
}

/// The file of a unit: its own, or its template's.
pub(super) fn path(root: &Path, unit: &str) -> Option<PathBuf> {
    let template = unit.split_once('@').and_then(|(name, rest)| {
        let (_, suffix) = rest.rsplit_once('.')?;
        Some(format!("{name}@.{suffix}"))
    });
    let places = ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
    let names = [Some(unit.to_owned()), template];
    let candidates =
        names.into_iter().flatten().flat_map(|name| places.map(|place| root.join(place).join(&name)));
    let mut found = candidates.filter(|path| path.is_file());
    found.next()
}

fn text(path: &Path) -> Option<String> {
    if std::fs::metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_add_up_continue_over_lines_and_are_emptied_by_an_empty_value() {
        let mut file = UnitFile::default();
        file.add("[Unit]\nAfter=a.service \\\n  b.service\n# After=x\n[Service]\nExecStart=/bin/a\nTimeoutStopSec=1min 30s\n");
        assert_eq!(file.words("Unit", "After"), ["a.service", "b.service"]);
        let stop = |file: &UnitFile| file.span("Service", "TimeoutStopSec", Duration::ZERO);
        assert_eq!(stop(&file), Some(Duration::from_secs(90)));
        file.add("[Service]\nExecStart=\nExecStart=/bin/b\nTimeoutStopSec=infinity");
        assert_eq!(file.all("Service", "ExecStart").collect::<Vec<_>>(), ["/bin/b"]);
        assert_eq!(stop(&file), None);
    }
}
