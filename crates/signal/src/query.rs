//! Query parameters as LiveKit's server reads them: the first value of a name counts, an absent one is empty.

/// A decoded query string.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// The first value of `key`, or the empty string.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// `1` and `true` are yes, anything else is no, absent or empty is `None`.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key) {
            "" => None,
            value => Some(value == "1" || value == "true"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_escapes_are_decoded() {
        let query = Query::parse("a=1&a=2&b=x%20y+z&c=&d=true&e=yes&%ff=%ff");
        assert_eq!((query.get("a"), query.get("b"), query.get("none")), ("1", "x y z", ""));
        assert_eq!((query.flag("a"), query.flag("c"), query.flag("d")), (Some(true), None, Some(true)));
        assert_eq!(query.flag("e"), Some(false));
    }
}
