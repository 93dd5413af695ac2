//! `ExecStart=` and its like: prefixes, quotes, specifiers, variables.

use std::collections::BTreeMap;
use std::path::Path;

/// A command to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CommandLine {
    pub(super) argv: Vec<String>,
    /// `-`: its failure does not count.
    pub(super) may_fail: bool,
}

/// Reads a command line.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn parse(
    text: &str,
    unit: &str,
    root: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<CommandLine, String> {
    let bare = text.trim_start_matches(['@', '-', ':', '+', '!']);
    let may_fail = text[..text.len() - bare.len()].contains('-');
    let mut argv = Vec::new();
    for (word, is_quoted) in words(bare)? {
        let word = specified(&word, unit);
        // A variable that stands alone is split into words; within a word it is put in as it is.
        let alone = word.strip_prefix('$').filter(|name| !is_quoted && is_name(name));
        match alone {
            Some(name) => {
                let value = environment.get(name).map_or("", String::as_str);
                argv.extend(value.split_whitespace().map(str::to_owned));
            }
            None => argv.push(substituted(&word, environment)),
        }
    }
    let program = argv.first_mut().ok_or_else(|| format!("`{text}` names no program"))?;
    if program.starts_with('/') {
        let below = root.join(program.trim_start_matches('/'));
        if below.exists() {
            *program = below.display().to_string();
        }
    }
    Ok(CommandLine { argv, may_fail })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Words, and whether each was quoted.
pub(super) fn words(text: &str) -> Result<Vec<(String, bool)>, String> {
    let mut out: Vec<(String, bool)> = Vec::new();
    let mut word: Option<(String, bool)> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                begun(&mut word).1 = true;
            }
            (_, '\\') => {
                let next = letters.next().ok_or_else(|| format!("`{text}` ends within an escape"))?;
                begun(&mut word).0.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    's' => ' ',
                    other => other,
                });
            }
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (_, c) => begun(&mut word).0.push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote in `{text}` has no end"));
    }
    out.extend(word);
    Ok(out)
}

/// The word that is being read.
fn begun(word: &mut Option<(String, bool)>) -> &mut (String, bool) {
    word.get_or_insert_with(|| (String::new(), false))
}

/// `%n`, `%p`, `%i`, `%H`, `%%` and a few more.
fn specified(text: &str, unit: &str) -> String {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match letters.next() {
            Some('n') => out.push_str(unit),
            Some('N') => out.push_str(stem),
            Some('p') => out.push_str(prefix),
            Some('i' | 'I') => out.push_str(instance),
            Some('t') => out.push_str("/run"),
            Some('S') => out.push_str("/var/lib"),
            Some('H') => out.push_str("localhost"),
            Some('%') | None => out.push('%'),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

/// `${NAME}` put in; `$$` is a dollar.
fn substituted(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        match braced {
            Some((name, tail)) if is_name(name) => {
                out.push_str(environment.get(name).map_or("", String::as_str));
                rest = tail;
            }
            _ => {
                out.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(text: &str) -> Vec<String> {
        let environment =
            BTreeMap::from([("A".to_owned(), "one two".to_owned()), ("B".to_owned(), "b".to_owned())]);
        parse(text, "x@y.service", Path::new("/nonexistent"), &environment).unwrap().argv
    }

    #[test]
    fn words_quotes_variables_and_specifiers_are_put_together() {
        assert_eq!(argv("-/bin/sh -c 'a b' %i"), ["/bin/sh", "-c", "a b", "y"]);
        assert_eq!(
            argv("run $A \"${A}\" x${B}y $$ 100%%"),
            ["run", "one", "two", "one two", "xby", "$", "100%"]
        );
        assert!(parse("-/bin/false", "u.service", Path::new("/"), &BTreeMap::new()).unwrap().may_fail);
        for bad in ["", "a 'b", "a \\"] {
            assert!(parse(bad, "u.service", Path::new("/"), &BTreeMap::new()).is_err(), "{bad}");
        }
    }
}
