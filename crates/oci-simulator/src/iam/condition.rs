//! `where` conditions of policies, and matching rules of dynamic groups, which have the same grammar.

use super::language::{Reader, Token};

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Test { variable: String, is_negated: bool, values: Vec<Value> },
}

/// What a variable is compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Literal(String),
    /// `/prefix*/`, `/*suffix/`, `/*middle*/`
    Pattern(String),
    Variable(String),
}

/// Nested lists of conditions.
const MAX_DEPTH: usize = 8;

impl Condition {
    /// A variable that the request does not have makes any test on it false, a negated one too, as OCI says.
    pub(super) fn holds(&self, variable: &dyn Fn(&str) -> Option<String>) -> bool {
        match self {
            Condition::All(parts) => parts.iter().all(|part| part.holds(variable)),
            Condition::Any(parts) => parts.iter().any(|part| part.holds(variable)),
            Condition::Test { variable: name, is_negated, values } => {
                let Some(found) = variable(name) else { return false };
                let matches = values.iter().any(|value| match value {
                    Value::Literal(text) => text.eq_ignore_ascii_case(&found),
                    Value::Pattern(pattern) => fits(pattern, &found),
                    Value::Variable(other) => {
                        variable(other).is_some_and(|other| other.eq_ignore_ascii_case(&found))
                    }
                });
                matches != *is_negated
            }
        }
    }
}

/// Whether text fits a pattern whose `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let parts: Vec<&str> = pattern.split('*').collect();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if parts.len() == 1 {
        return pattern == text;
    }
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in &parts[1..parts.len() - 1] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A dynamic group's matching rule.
///
/// # Errors
/// Says where it goes wrong.
pub(super) fn rule(text: &str) -> Result<Condition, String> {
    let mut reader = Reader::new(text)?;
    let condition = read(&mut reader, 0)?;
    reader.expect_end()?;
    Ok(condition)
}

/// # Errors
/// Says where it goes wrong.
pub(super) fn read(reader: &mut Reader, depth: usize) -> Result<Condition, String> {
    if depth > MAX_DEPTH {
        return Err("conditions are nested too deep".into());
    }
    for (word, is_all) in [("all", true), ("any", false)] {
        if !reader.word(word) {
            continue;
        }
        reader.expect_sign("{")?;
        let mut parts = vec![read(reader, depth + 1)?];
        while reader.sign(",") {
            parts.push(read(reader, depth + 1)?);
        }
        reader.expect_sign("}")?;
        return Ok(if is_all { Condition::All(parts) } else { Condition::Any(parts) });
    }
    let Token::Word(variable) = reader.next("a variable")? else {
        return Err("a condition must begin with a variable".into());
    };
    let is_in = reader.word("in");
    let is_not_in = !is_in && reader.word("not");
    if is_in || is_not_in {
        if is_not_in {
            reader.expect_word("in")?;
        }
        reader.expect_sign("(")?;
        let mut values = vec![value(reader)?];
        while reader.sign(",") {
            values.push(value(reader)?);
        }
        reader.expect_sign(")")?;
        return Ok(Condition::Test { variable, is_negated: is_not_in, values });
    }
    let is_negated = reader.sign("!=");
    if !is_negated {
        reader.expect_sign("=")?;
    }
    Ok(Condition::Test { variable, is_negated, values: vec![value(reader)?] })
}

fn value(reader: &mut Reader) -> Result<Value, String> {
    match reader.next("a value")? {
        Token::Quoted(text) => Ok(Value::Literal(text)),
        Token::Word(word) => {
            let pattern = word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
            Ok(match pattern {
                Some(pattern) => Value::Pattern(pattern.into()),
                None => Value::Variable(word),
            })
        }
        Token::Sign(sign) => Err(format!("`{sign}` stands where a value should")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, variables: &[(&str, &str)]) -> bool {
        rule(text).unwrap().holds(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn lists_nest_and_a_missing_variable_denies() {
        let rule = "ALL {a = '1', any {b = '2', b != '3'}}";
        assert!(holds(rule, &[("a", "1"), ("b", "2")]));
        assert!(!holds(rule, &[("a", "1"), ("b", "3")]));
        assert!(!holds(rule, &[("a", "1")]), "b is not known, so not even b != '3' holds");
    }

    #[test]
    fn patterns_and_lists_match() {
        assert!(holds("n = /SALA-*/", &[("n", "sala-x")]));
        assert!(!holds("n = /SALA-*/", &[("n", "x-sala-")]));
        assert!(holds("n = /*-IP/", &[("n", "MASTER-IP")]));
        assert!(holds("n = /a*c*e/", &[("n", "abcde")]));
        assert!(!holds("n = /ab*ba/", &[("n", "aba")]), "the ends may not overlap");
        assert!(holds("n in ('x', 'y')", &[("n", "Y")]));
        assert!(holds("n not in ('x', 'y')", &[("n", "z")]));
        assert!(holds("a = b", &[("a", "1"), ("b", "1")]));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_place() {
        for (text, at) in [
            ("a = ", "ends"),
            ("a > '1'", "`>`"),
            ("all {a = '1'", "ends"),
            ("all {}", "begin with a variable"),
            ("a = '1' b", "`b`"),
            ("a = 'x", "no end"),
        ] {
            let error = rule(text).unwrap_err();
            assert!(error.contains(at), "{text}: {error}");
        }
    }
}
