//! `Environment=` and `EnvironmentFile=`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::command_line::words;
use super::unit_file::UnitFile;

/// A path below the machine's root if it is there, else as it is.
pub(super) fn placed(root: &Path, path: &str) -> PathBuf {
    let below = root.join(path.trim_start_matches('/'));
    let is_given_whole = Path::new(path).starts_with(root);
    if is_given_whole || (!below.exists() && Path::new(path).exists()) { path.into() } else { below }
}

/// The variables that a unit adds.
///
/// # Errors
/// When a file that must be there is not.
pub(super) fn variables(file: &UnitFile, root: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for assignments in file.all("Service", "Environment") {
        for (assignment, _) in words(assignments)? {
            if let Some((name, value)) = assignment.split_once('=') {
                out.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    for path in file.all("Service", "EnvironmentFile") {
        let is_optional = path.starts_with('-');
        let path = placed(root, path.trim_start_matches('-'));
        match std::fs::read_to_string(&path) {
            Ok(text) => out.extend(parse(&text)),
            Err(_) if is_optional => {}
            Err(error) => return Err(format!("cannot read EnvironmentFile {}: {error}", path.display())),
        }
    }
    Ok(out)
}

/// `NAME=value` a line, with shell-like quotes.
fn parse(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        let is_quoted = value.starts_with(['"', '\'']);
        let value = match is_quoted.then(|| words(value)) {
            Some(Ok(parts)) => parts.into_iter().map(|(part, _)| part).collect::<Vec<_>>().join(" "),
            _ => value.to_owned(),
        };
        out.push((name.trim().to_owned(), value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_quoted_and_hold_equals_signs() {
        let text = "# note\nA=1\nB=\"two words\"\nC='a=b'\nD=a=b c\n\nnonsense\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "a=b"), ("D", "a=b c")];
        assert_eq!(parse(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
