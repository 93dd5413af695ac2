//! The guide's `additionalInstallFlags`: `--name=value` with commas between them.

/// What the flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Another ACME authority than Let's Encrypt.
    pub acme_directory: Option<String>,
    /// A file on the masters with the root certificate (PEM) of such an authority, if it is not a public one.
    pub acme_ca_file: Option<String>,
    /// Whom the ACME authority may write to.
    pub acme_email: Option<String>,
    /// Without a domain the cluster is reached by the balancer's address itself, not by a name derived from it.
    pub by_address: bool,
    pub log_level: Option<String>,
}

/// What is wrong with the flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("`{0}` is no flag; write --name=value, with commas between several")]
    NotAFlag(String),
    #[error(
        "`{0}` is not known; known are {KNOWN}. Flags of OpenVidu's installer have no meaning here: remove it"
    )]
    Unknown(String),
    #[error("`{flag}` needs {expected}, not `{found}`")]
    BadValue { flag: &'static str, found: String, expected: &'static str },
    #[error("`{0}` is given twice; remove one of the two")]
    Twice(&'static str),
}

const KNOWN: &str = "--acme-directory=URL, --acme-ca-file=PATH, --acme-email=ADDRESS, --certificate-for=name|ip, --log-level=LEVEL";

impl Flags {
    /// Reads them; blank is none.
    pub fn parse(text: &str) -> Result<Flags, FlagError> {
        let mut flags = Flags::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, value)) =
                part.strip_prefix("--").map(|flag| flag.split_once('=').unwrap_or((flag, "")))
            else {
                return Err(FlagError::NotAFlag(shown(part)));
            };
            let value = value.trim();
            let flag = match name.trim() {
                "acme-directory" => "--acme-directory",
                "acme-ca-file" => "--acme-ca-file",
                "acme-email" => "--acme-email",
                "certificate-for" => "--certificate-for",
                "log-level" => "--log-level",
                other => return Err(FlagError::Unknown(format!("--{}", shown(other)))),
            };
            if seen.contains(&flag) {
                return Err(FlagError::Twice(flag));
            }
            seen.push(flag);
            let bad = |expected| FlagError::BadValue { flag, found: shown(value), expected };
            match flag {
                "--acme-directory" if value.starts_with("https://") && value.len() > 8 => {
                    flags.acme_directory = Some(value.to_owned());
                }
                "--acme-directory" => return Err(bad("a URL that begins with https://")),
                "--acme-ca-file" if value.starts_with('/') => flags.acme_ca_file = Some(value.to_owned()),
                "--acme-ca-file" => return Err(bad("a path that begins with /")),
                "--acme-email"
                    if value.split_once('@').is_some_and(|(a, b)| !a.is_empty() && b.contains('.')) =>
                {
                    flags.acme_email = Some(value.to_owned());
                }
                "--acme-email" => return Err(bad("an e-mail address")),
                "--certificate-for" => {
                    flags.by_address = match value {
                        "ip" => true,
                        "name" => false,
                        _ => return Err(bad("`name` or `ip`")),
                    };
                }
                _ if ["error", "warn", "info", "debug", "trace"].contains(&value) => {
                    flags.log_level = Some(value.to_owned());
                }
                _ => return Err(bad("error, warn, info, debug or trace")),
            }
        }
        Ok(flags)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_as_the_guide_writes_them() {
        let flags =
            Flags::parse(" --acme-email=ops@example.com, --certificate-for=ip ,,--log-level=debug").unwrap();
        assert_eq!(flags.acme_email.as_deref(), Some("ops@example.com"));
        assert!(flags.by_address);
        assert_eq!(flags.log_level.as_deref(), Some("debug"));
        assert_eq!(Flags::parse("").unwrap(), Flags::default());
    }

    #[test]
    fn each_mistake_says_what_to_write_instead() {
        let says = |text: &str, part: &str| {
            let error = Flags::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        says("log-level=debug", "write --name=value");
        says(
            "--turn-domain-name=turn.example.com",
            "--turn-domain-name` is not known; known are --acme-directory",
        );
        says("--log-level=loud", "error, warn, info");
        says("--log-level", "not ``");
        says("--acme-directory=http://ca.example.com", "begins with https://");
        says("--acme-ca-file=pebble.pem", "begins with /");
        says("--acme-email=nobody", "an e-mail address");
        says("--certificate-for=both", "`name` or `ip`");
        says("--log-level=info,--log-level=debug", "given twice");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Flags::parse(&text);
        }
    }
}
