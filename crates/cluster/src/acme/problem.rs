//! What went wrong on the way to a certificate, as one line with its remedy.

use std::error::Error as StdError;

use instant_acme::{Error, Problem};

use super::turn::TurnLost;

/// Problem types of RFC 8555 begin with this.
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// How much of a server's text is repeated.
const MAX_DETAIL: usize = 400;

/// Why there is no certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing that the ACME server counts.
    #[error(transparent)]
    Turn(#[from] TurnLost),
    #[error("{what}; {remedy}")]
    Acme { kind: Kind, what: String, remedy: String },
}

/// What the failure means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server refuses, or could not check a name.
    Refused,
    /// Too much was asked of the server.
    RateLimited,
    /// The server does not know our account: make a new one.
    UnknownAccount,
    /// No answer of the server, or none that could be understood: the order may still be good.
    Network,
}

impl Failure {
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Failure::Turn(_) => None,
            Failure::Acme { kind, .. } => Some(*kind),
        }
    }

    pub(super) fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure::Acme { kind: Kind::Refused, what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn network(what: impl Into<String>, remedy: impl Into<String>) -> Failure {
        Failure::Acme { kind: Kind::Network, what: what.into(), remedy: remedy.into() }
    }

    /// From the ACME library. `directory` names the server.
    pub(super) fn of(error: Error, directory: &str) -> Failure {
        match error {
            Error::Api(problem) => Failure::of_problem(&problem, None),
            Error::Timeout(_) => Failure::network(
                format!("{directory} did not finish in time"),
                "the order is continued with the next attempt",
            ),
            Error::Json(_) => Failure::network(
                format!("{directory} answered with something that is no ACME"),
                "check gateway.acme.directory_url, and whether a proxy answers in the server's place",
            ),
            Error::Other(error) => {
                let chain = chain(&*error);
                let remedy = match chain.contains("invalid peer certificate") {
                    true => {
                        "its certificate is from an authority that this machine does not trust: name that authority's PEM file \
                         in gateway.acme.ca_file"
                    }
                    false => "can the masters open connections to it?",
                };
                Failure::network(format!("{directory} cannot be asked: {chain}"), remedy)
            }
            other => Failure::network(format!("{directory}: {other}"), "check gateway.acme.directory_url"),
        }
    }

    /// From a problem document, of the challenge for `name` if given.
    pub(super) fn of_problem(problem: &Problem, name: Option<&str>) -> Failure {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.strip_prefix(NAMESPACE).unwrap_or(kind);
        let mut what = name.map(|name| format!("{name}: ")).unwrap_or_default();
        what += &brief(problem.detail.as_deref().unwrap_or("the server gives no detail"));
        for sub in problem.subproblems.iter().take(3) {
            what += &format!(", {}", brief(&sub.to_string()));
        }
        if !kind.is_empty() {
            what += &format!(" ({})", brief(kind));
        }
        let class = match kind {
            "rateLimited" => Kind::RateLimited,
            "accountDoesNotExist" => Kind::UnknownAccount,
            "serverInternal" => Kind::Network,
            _ => Kind::Refused,
        };
        Failure::Acme { kind: class, what, remedy: remedy(kind, name) }
    }
}

/// What an operator can do about a problem of this type.
fn remedy(kind: &str, name: Option<&str>) -> String {
    let name = name.unwrap_or("the name");
    match kind {
        "connection" => format!(
            "the ACME server must reach http://{name}/: does {name} resolve to the load balancer, and do firewall and balancer \
             let the internet through to port 80 of the masters?"
        ),
        "dns" => format!("make an A or AAAA record of {name} that points to the load balancer"),
        "unauthorized" | "incorrectResponse" => format!(
            "something else answers on port 80 of {name}: does it resolve to the load balancer alone (also by IPv6), and does \
             the balancer pass port 80 to these masters unchanged?"
        ),
        "caa" => format!("a CAA record of {name} forbids it: add this authority there"),
        "rateLimited" => {
            "wait, or ask for other names; with gateway.acme.directory_url of the server's staging system tries cost nothing"
                .into()
        }
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            "this server does not issue for such a name; check gateway.acme.names".into()
        }
        "invalidContact" | "unsupportedContact" => "check gateway.acme.contact".into(),
        "invalidProfile" => "check gateway.acme.profile".into(),
        "externalAccountRequired" => {
            "this server wants an account made elsewhere (external account binding), which Sala does not do: use another \
             gateway.acme.directory_url"
                .into()
        }
        "userActionRequired" => "the server wants its new terms agreed to; read what it says".into(),
        "accountDoesNotExist" => "a new account is made".into(),
        "serverInternal" => "the fault is the server's; it is asked again".into(),
        _ => "check gateway.acme.names and gateway.acme.directory_url".into(),
    }
}

/// One line, of bounded length, whatever the server wrote.
fn brief(text: &str) -> String {
    let mut line: String =
        text.chars().take(MAX_DETAIL).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > MAX_DETAIL {
        line.push('…');
    }
    line
}

/// An error with its causes, each once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = brief(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = brief(&error.to_string());
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(json: &str, name: Option<&str>) -> Failure {
        Failure::of_problem(&serde_json::from_str(json).unwrap(), name)
    }

    #[test]
    fn a_problem_is_one_line_with_the_servers_detail_and_a_remedy() {
        let json = r#"{"type":"urn:ietf:params:acme:error:connection","detail":"203.0.113.7: Fetching\nhttp://x: refused"}"#;
        let failure = failure(json, Some("meet.example"));
        let line = failure.to_string();
        assert!(
            line.starts_with("meet.example: 203.0.113.7: Fetching http://x: refused (connection); "),
            "{line}"
        );
        assert!(line.contains("port 80") && line.contains("resolve to the load balancer"), "{line}");
        assert_eq!(failure.kind(), Some(Kind::Refused));
    }

    #[test]
    fn what_a_failure_means_for_the_next_attempt_follows_its_type() {
        let of = |kind: &str| failure(&format!(r#"{{"type":"{NAMESPACE}{kind}"}}"#), None);
        assert_eq!(of("rateLimited").kind(), Some(Kind::RateLimited));
        assert_eq!(of("accountDoesNotExist").kind(), Some(Kind::UnknownAccount));
        assert_eq!(of("serverInternal").kind(), Some(Kind::Network));
        assert_eq!(of("anythingNew").kind(), Some(Kind::Refused));
        assert_eq!(failure("{}", None).kind(), Some(Kind::Refused));
    }

    #[test]
    fn a_server_cannot_flood_the_log() {
        let long = format!(r#"{{"detail":"{}"}}"#, "x".repeat(100_000));
        assert!(failure(&long, None).to_string().len() < 1000);
    }
}
