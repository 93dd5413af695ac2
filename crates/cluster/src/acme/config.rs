//! What an operator says about the certificate: names, server, profile; checked before anybody is asked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::records::Wanted;

/// The server that is asked unless another one is configured.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names in one certificate: Let's Encrypt allows 25 in a short-lived one.
const MAX_NAMES: usize = 25;

/// What contact addresses and profiles may be long.
const MAX_TEXT: usize = 254;

/// How long a wait by the wall clock lasts at most before the clock is looked at again: it may jump.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

/// A certificate from an ACME server. Who configures it agrees to the server's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// Domain names and addresses that it is for, all of them; the store keeps it under the first.
    pub names: Vec<String>,
    pub directory_url: String,
    /// A mail address that the server may write to.
    pub contact: Option<String>,
    /// PEM of the authority that the ACME server's own certificate is from; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// One of the server's profiles. Absent: `shortlived` where a name is an address and the server has it, as Let's
    /// Encrypt demands, else the server's default.
    pub profile: Option<String>,
}

/// Why no certificate can be asked for with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadAcme {
    #[error(
        "gateway.acme.names is empty; list the domain names or addresses by which clients reach the load balancer"
    )]
    NoNames,
    #[error("gateway.acme.names has {0} names, {MAX_NAMES} fit into a certificate; leave some out")]
    TooManyNames(usize),
    #[error("gateway.acme.names: `{0}` is no domain name and no IP address; write it as meet.example.org")]
    BadName(String),
    #[error(
        "gateway.acme.names: `{0}` is a wildcard, which needs a challenge by DNS that Sala does not do; list each name, or use \
         gateway.certificate_file"
    )]
    Wildcard(String),
    #[error(
        "gateway.acme.names: Let's Encrypt issues nothing for `{0}`, which the internet cannot reach; use a public name or \
         address, a private server under gateway.acme.directory_url, or no gateway.acme for a self-signed certificate"
    )]
    NotPublic(String),
    #[error("gateway.acme.directory_url `{0}` is no https URL; Let's Encrypt's is {LETS_ENCRYPT}")]
    BadDirectory(String),
    #[error("gateway.acme.contact `{0}` is no mail address; write it as admin@example.org, or leave it out")]
    BadContact(String),
    #[error(
        "gateway.acme.profile `{0}` is no name of a profile; the server's directory lists those that it has"
    )]
    BadProfile(String),
    #[error("cannot read gateway.acme.ca_file {}: {problem}", path.display())]
    Roots { path: PathBuf, problem: String },
    #[error("the system's certificate authorities cannot be read: {0}; install the package ca-certificates")]
    SystemRoots(String),
    #[error(
        "gateway.acme needs a plain listener: the ACME server connects to port 80; add one under gateway.http and let the \
         load balancer pass port 80 to it"
    )]
    NoHttp,
}

impl AcmeConfig {
    /// Puts names and contact into their usual form; says what is wrong.
    pub fn checked(mut self) -> Result<AcmeConfig, BadAcme> {
        let uri = self.directory_url.parse::<axum::http::Uri>().ok();
        let host = uri.as_ref().filter(|uri| uri.scheme_str() == Some("https")).and_then(|uri| uri.host());
        let Some(host) = host.map(str::to_ascii_lowercase) else {
            return Err(BadAcme::BadDirectory(self.directory_url));
        };
        let public_only = host.ends_with(".letsencrypt.org");
        let mut names: Vec<String> = Vec::new();
        for name in &self.names {
            let name = checked_name(name, public_only)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        match names.len() {
            0 => return Err(BadAcme::NoNames),
            count if count > MAX_NAMES => return Err(BadAcme::TooManyNames(count)),
            _ => self.names = names,
        }
        if let Some(contact) = self.contact.take().filter(|contact| !contact.trim().is_empty()) {
            let address = contact.trim().trim_start_matches("mailto:").to_owned();
            let parts = address.split_once('@');
            let printable = address.bytes().all(|b| b.is_ascii_graphic()) && address.len() <= MAX_TEXT;
            if !printable || !parts.is_some_and(|(user, domain)| !user.is_empty() && is_domain(domain)) {
                return Err(BadAcme::BadContact(contact));
            }
            self.contact = Some(address);
        }
        self.profile = self.profile.filter(|profile| !profile.is_empty());
        if let Some(profile) = &self.profile
            && !(profile.len() <= MAX_TEXT && profile.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(BadAcme::BadProfile(profile.clone()));
        }
        Ok(self)
    }

    /// The name that the store keeps it under. A checked configuration has one.
    pub(super) fn first_name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    pub(super) fn wanted(&self) -> Wanted {
        let (names, directory) = (self.names.clone(), self.directory_url.clone());
        Wanted { names, directory, profile: self.profile.clone() }
    }
}

fn checked_name(name: &str, public_only: bool) -> Result<String, BadAcme> {
    let bare = name.trim().trim_end_matches('.').to_ascii_lowercase();
    if let Ok(address) = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let address = address.to_canonical();
        return match public_only && !is_public(address) {
            true => Err(BadAcme::NotPublic(name.to_owned())),
            false => Ok(address.to_string()),
        };
    }
    if bare.starts_with("*.") {
        return Err(BadAcme::Wildcard(name.to_owned()));
    }
    if !is_domain(&bare) {
        return Err(BadAcme::BadName(name.to_owned()));
    }
    if public_only && !bare.contains('.') {
        return Err(BadAcme::NotPublic(name.to_owned()));
    }
    Ok(bare)
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    let all_digits = name.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !all_digits
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation();
            !(special || shared || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            let special = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast();
            !(special || v6.is_unique_local() || v6.is_unicast_link_local())
        }
    }
}

/// The wall clock. Certificates are dated, so here it is not the monotonic one that counts.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead: Option<watch::Receiver<Duration>>,
}

impl Clock {
    pub fn system() -> Clock {
        Clock::default()
    }

    /// For tests: runs ahead of the system's by what the sender says.
    pub fn ahead_by(ahead: watch::Receiver<Duration>) -> Clock {
        Clock { ahead: Some(ahead) }
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        let ahead = self.ahead.as_ref().map_or(Duration::ZERO, |ahead| *ahead.borrow());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ahead;
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Waits until then, however the clock is set meanwhile.
    pub(super) async fn wait_until(&self, until_ms: i64) {
        let mut ahead = self.ahead.clone();
        loop {
            let left = until_ms.saturating_sub(self.now_ms());
            if left <= 0 {
                return;
            }
            let nap = LOOK_AT_CLOCK.min(Duration::from_millis(left.unsigned_abs()));
            let set = async {
                let set = match &mut ahead {
                    Some(ahead) => ahead.changed().await.is_ok(),
                    None => false,
                };
                if !set {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                () = set => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[&str]) -> AcmeConfig {
        AcmeConfig {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            directory_url: LETS_ENCRYPT.to_owned(),
            contact: None,
            ca_file: None,
            profile: None,
        }
    }

    fn problem(config: AcmeConfig) -> String {
        config.checked().unwrap_err().to_string()
    }

    #[test]
    fn names_are_domain_names_and_addresses_in_one_form() {
        let given = config(&["Meet.Example.ORG.", "203.0.114.7", "[2001:DB9::0:1]", "meet.example.org"]);
        assert_eq!(given.checked().unwrap().names, ["meet.example.org", "203.0.114.7", "2001:db9::1"]);
    }

    #[test]
    fn names_that_no_server_could_vouch_for_are_refused_with_a_remedy() {
        assert!(problem(config(&[])).contains("list the domain names"));
        for bad in ["", "a b.example", "-a.example", "a..example", "https://a.example", "1.2.3", "x.1"] {
            assert!(problem(config(&[bad])).contains("meet.example.org"), "{bad}");
        }
        assert!(problem(config(&["*.example.org"])).contains("wildcard"));
        for private in ["10.0.0.1", "127.0.0.1", "100.64.0.1", "::1", "fd00::1", "localhost"] {
            assert!(problem(config(&[private])).contains("cannot reach"), "{private}");
        }
        let many: Vec<String> = (0..26).map(|i| format!("a{i}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(problem(config(&many)).contains("26 names"));
    }

    #[test]
    fn a_private_server_may_issue_for_private_names() {
        let directory_url = "https://127.0.0.1:14000/dir".to_owned();
        let private = AcmeConfig { directory_url, ..config(&["10.0.0.1", "localhost"]) };
        assert_eq!(private.checked().unwrap().names, ["10.0.0.1", "localhost"]);
    }

    #[test]
    fn server_contact_and_profile_are_checked() {
        let with = |change: &dyn Fn(&mut AcmeConfig)| {
            let mut config = config(&["a.example.org"]);
            change(&mut config);
            config
        };
        let plain = with(&|c| c.directory_url = "http://ca.example/dir".into());
        assert!(problem(plain).contains("no https URL"));
        assert!(problem(with(&|c| c.contact = Some("nobody".into()))).contains("admin@example.org"));
        assert!(problem(with(&|c| c.profile = Some("a b".into()))).contains("profile"));
        let good = with(&|c| c.contact = Some("mailto:me@example.org".into())).checked().unwrap();
        assert_eq!(good.contact.as_deref(), Some("me@example.org"));
        assert_eq!(with(&|c| c.contact = Some(String::new())).checked().unwrap().contact, None);
    }
}
