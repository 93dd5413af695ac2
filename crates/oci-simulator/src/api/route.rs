//! From method and path to an operation.

use super::{Context, Reply, Request};
use crate::auth::signature::Cover;

/// An operation: where it answers, and who does it.
pub(crate) struct Route {
    method: &'static str,
    /// Parts separated by slashes; `{}` is any one, `{*}` all that follow.
    pattern: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) cover: Cover,
    pub(crate) handler: fn(&mut Context<'_>) -> Reply,
}

impl Route {
    pub(crate) const fn new(
        method: &'static str,
        pattern: &'static str,
        operation: &'static str,
        handler: fn(&mut Context<'_>) -> Reply,
    ) -> Route {
        Route { method, pattern, operation, cover: Cover::Body, handler }
    }

    /// The body need not be signed.
    pub(crate) const fn unsigned_body(mut self) -> Route {
        self.cover = Cover::Headers;
        self
    }

    fn parameters(&self, segments: &[String]) -> Option<Vec<String>> {
        let mut out = Vec::new();
        let mut segments = segments.iter();
        for part in self.pattern.split('/') {
            match part {
                "{*}" => {
                    let rest: Vec<&str> = segments.by_ref().map(String::as_str).collect();
                    out.push(rest.join("/"));
                    return (!rest.is_empty()).then_some(out);
                }
                "{}" => out.push(segments.next()?.clone()),
                part => (segments.next()? == part).then_some(())?,
            }
        }
        segments.next().is_none().then_some(out)
    }
}

/// An operation found, with the parts of its path.
pub(crate) struct Match {
    pub(crate) route: &'static Route,
    pub(crate) parameters: Vec<String>,
    /// The vault whose management endpoint was asked.
    pub(crate) vault: Option<String>,
}

/// The operation for a request, if any.
pub(crate) fn find(request: &Request) -> Option<Match> {
    let mut segments = &request.segments[..];
    let mut vault = None;
    if let [first, name, rest @ ..] = segments
        && first == "management"
    {
        (vault, segments) = (Some(name.clone()), rest);
    }
    let method = request.method.as_str();
    super::routes()
        .filter(|route| route.method == method)
        .find_map(|route| route.parameters(segments).map(|parameters| (route, parameters)))
        .map(|(route, parameters)| Match { route, parameters, vault })
}
