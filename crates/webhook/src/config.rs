//! Where webhooks go and how hard is tried.

use std::time::Duration;

use auth::{KeyStore, Secret};
use http::Uri;

/// Most URLs: each has its own queue for each room.
const MAX_URLS: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Each event goes to all of these. `http` or `https`.
    pub urls: Vec<String>,
    /// Id of the API key that signs.
    pub api_key: String,
    pub secret: Secret,
    /// If not empty, only these events (by name, such as `room_started`).
    pub include: Vec<String>,
    /// Not these events.
    pub exclude: Vec<String>,
    pub retry: Retry,
}

impl WebhookConfig {
    /// With the default patience and all events.
    pub fn new(urls: Vec<String>, api_key: impl Into<String>, secret: Secret) -> WebhookConfig {
        WebhookConfig {
            urls,
            api_key: api_key.into(),
            secret,
            include: Vec::new(),
            exclude: Vec::new(),
            retry: Retry::default(),
        }
    }

    /// Whether events of this name are wanted.
    pub(crate) fn wants(&self, event: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|it| it == event))
            && !self.exclude.iter().any(|it| it == event)
    }

    pub(crate) fn check(&self) -> Result<(Vec<Uri>, KeyStore), ConfigError> {
        if self.urls.len() > MAX_URLS {
            return Err(ConfigError::TooManyUrls(self.urls.len()));
        }
        let keys = KeyStore::new([(self.api_key.clone(), self.secret.clone())]).map_err(ConfigError::Key)?;
        Ok((self.urls.iter().map(|url| parse(url)).collect::<Result<_, _>>()?, keys))
    }
}

fn parse(url: &str) -> Result<Uri, ConfigError> {
    let uri: Uri = url.parse().map_err(|_| ConfigError::Url(url.to_owned()))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(ConfigError::Url(url.to_owned())),
    }
}

/// How long and how often a receiver that does not answer with 2xx is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Pause after the first failure; it doubles with each, and a random half is taken off.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// How long a receiver may take to answer.
    pub answer_within: Duration,
    /// After this long an event is dropped with a line in the log, and the next one of its room is tried.
    pub give_up_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            answer_within: Duration::from_secs(10),
            // A receiver may be redeployed or restarted meanwhile.
            give_up_after: Duration::from_secs(15 * 60),
        }
    }
}

/// Why webhooks cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("`{0}` is no URL for webhooks; write it as https://host/path")]
    Url(String),
    #[error("{0} webhook URLs, at most {MAX_URLS} are allowed; let one receiver pass events on")]
    TooManyUrls(usize),
    #[error("webhooks cannot be signed: {0}; set `webhook.api_key` to one of `keys`")]
    Key(auth::KeyError),
    #[error("the system's certificate authorities cannot be read: {0}; install ca-certificates")]
    Roots(String),
}
