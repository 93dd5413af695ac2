//! Monitoring's query language, as much as is used: `Metric[5m]{dimension = "value", …}.groupBy(a, b).mean()`.

use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Statistic {
    Mean,
    Max,
    Min,
    Sum,
    Count,
}

impl Statistic {
    /// None of no values.
    pub(crate) fn of(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let sum: f64 = values.iter().sum();
        Some(match self {
            Statistic::Mean => sum / values.len() as f64,
            Statistic::Max => values.iter().copied().fold(f64::MIN, f64::max),
            Statistic::Min => values.iter().copied().fold(f64::MAX, f64::min),
            Statistic::Sum => sum,
            Statistic::Count => values.len() as f64,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Is,
    IsNot,
    /// `=~`: alternatives by `|`, `*` for anything.
    Fits,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Query {
    pub(crate) metric: String,
    pub(crate) interval_seconds: u64,
    filters: Vec<(String, Operator, String)>,
    /// None: a stream each. Some of nothing: one for all.
    pub(crate) group_by: Option<Vec<String>>,
    pub(crate) statistic: Statistic,
}

impl Query {
    pub(crate) fn fits(&self, dimensions: &BTreeMap<String, String>) -> bool {
        self.filters.iter().all(|(name, operator, value)| {
            let found = dimensions.get(name).map_or("", String::as_str);
            match operator {
                Operator::Is => found == value,
                Operator::IsNot => found != value,
                Operator::Fits => value.split('|').any(|pattern| fits(pattern, found)),
            }
        })
    }

    /// The dimensions that a stream keeps.
    pub(crate) fn group(&self, dimensions: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let is_kept = |name: &String| self.group_by.as_ref().is_none_or(|names| names.contains(name));
        let kept = dimensions.iter().filter(|(name, _)| is_kept(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((first, rest)) => text.strip_prefix(first).is_some_and(|tail| {
            rest.is_empty() || (0..=tail.len()).any(|at| tail.is_char_boundary(at) && fits(rest, &tail[at..]))
        }),
    }
}

/// A query is no longer than that.
const MAX_LENGTH: usize = 4096;

/// # Errors
/// Says what is not understood.
pub(crate) fn parse(text: &str) -> Result<Query, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("the query is longer than {MAX_LENGTH} bytes"));
    }
    let (metric, rest) = text.trim().split_once('[').ok_or("the interval in brackets is missing")?;
    let (interval, rest) = rest.split_once(']').ok_or("the interval's bracket has no end")?;
    let interval_seconds = interval_seconds(interval)?;
    let (filters, rest) = match rest.trim_start().strip_prefix('{') {
        None => (Vec::new(), rest),
        Some(rest) => {
            let end = end_of_braces(rest).ok_or("the brace has no end")?;
            (filters(&rest[..end])?, &rest[end + 1..])
        }
    };
    let mut group_by = None;
    let mut statistic = None;
    let mut rest = rest.trim();
    while let Some(call) = rest.strip_prefix('.') {
        let (name, after) = call.split_once('(').ok_or_else(|| format!("`{call}` is no call"))?;
        let (arguments, after) = after.split_once(')').ok_or_else(|| format!("`{call}` has no end"))?;
        match name.trim() {
            "groupBy" => group_by = Some(arguments.split(',').map(|name| name.trim().to_owned()).collect()),
            "grouping" => group_by = Some(Vec::new()),
            "mean" | "avg" => statistic = Some(Statistic::Mean),
            "max" => statistic = Some(Statistic::Max),
            "min" => statistic = Some(Statistic::Min),
            "sum" => statistic = Some(Statistic::Sum),
            "count" => statistic = Some(Statistic::Count),
            other => return Err(format!("the simulator has no statistic `{other}`")),
        }
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        return Err(format!("`{rest}` is not understood; alarms are not simulated"));
    }
    let statistic = statistic.ok_or("a statistic such as .mean() is missing")?;
    Ok(Query { metric: metric.trim().into(), interval_seconds, filters, group_by, statistic })
}

/// `1m` to `60m`, `1h` to `24h`, `1d`.
fn interval_seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no interval; 1m to 60m, 1h to 24h and 1d are");
    let unit = text.chars().last().ok_or_else(bad)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| bad())?;
    match (unit, number) {
        ('m', 1..=60) => Ok(number * 60),
        ('h', 1..=24) => Ok(number * 3600),
        ('d', 1) => Ok(86_400),
        _ => Err(bad()),
    }
}

/// Where the closing brace is, outside of quotes.
fn end_of_braces(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

fn filters(text: &str) -> Result<Vec<(String, Operator, String)>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let at = rest.find(['=', '!']).ok_or_else(|| format!("`{rest}` has no operator"))?;
        let name = rest[..at].trim().to_owned();
        let operators = [("!=", Operator::IsNot), ("=~", Operator::Fits), ("=", Operator::Is)];
        let found = operators.into_iter().find(|(sign, _)| rest[at..].starts_with(sign));
        let (sign, operator) = found.ok_or_else(|| format!("`{rest}` has no operator"))?;
        let value = rest[at + sign.len()..].trim_start();
        let quote = value.chars().next().filter(|c| "\"'".contains(*c));
        let quote = quote.ok_or_else(|| format!("the value of {name} has no quotes"))?;
        let (value, after) =
            value[1..].split_once(quote).ok_or_else(|| format!("the value of {name} has no end"))?;
        out.push((name, operator, value.to_owned()));
        let after = after.trim_start();
        rest = after.strip_prefix(',').or(after.strip_prefix("&&")).unwrap_or(after).trim_start();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimensions(id: &str, name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("resourceId".into(), id.into()), ("resourceDisplayName".into(), name.into())])
    }

    #[test]
    fn queries_of_the_usual_forms_are_read() {
        let query = parse("CpuUtilization[5m]{resourceId = \"a\"}.mean()").unwrap();
        assert_eq!((query.interval_seconds, query.statistic), (300, Statistic::Mean));
        assert!(query.fits(&dimensions("a", "x")));
        assert!(!query.fits(&dimensions("b", "x")));
        let query =
            parse("CpuUtilization[1m]{resourceId =~ \"a|b*\", resourceDisplayName != 'y'}.grouping().max()");
        let query = query.unwrap();
        assert!(query.fits(&dimensions("bcd", "x")));
        assert!(!query.fits(&dimensions("bcd", "y")));
        assert!(query.group(&dimensions("a", "x")).is_empty());
        let query = parse("CpuUtilization[1h].groupBy(resourceId).mean()").unwrap();
        assert_eq!(query.group(&dimensions("a", "x")).len(), 1);
    }

    #[test]
    fn what_is_not_simulated_is_refused() {
        for text in [
            "Cpu",
            "Cpu[5s].mean()",
            "Cpu[5m]",
            "Cpu[5m]{a=b}.mean()",
            "Cpu[5m].rate()",
            "Cpu[5m].mean() > 5",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
