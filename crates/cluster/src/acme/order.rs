//! The conversation with the ACME server: account, order, proofs, certificate. Every step that the server counts is
//! in the store before the next one, so that another master can go on from there.

use auth::Secret;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::time::Duration;
use store::Txn;

use super::config::AcmeConfig;
use super::problem::{Failure, Kind};
use super::records::{
    ACCOUNT, AccountRecord, CertificateRecord, OrderRecord, challenge_key, order_key, to_bytes,
};
use super::transport::Transport;
use super::turn::Turn;
use super::view::View;

/// Let's Encrypt's short-lived certificates; the only ones that it issues for addresses.
const SHORT_LIVED: &str = "shortlived";

/// Validation, and then issuing, take seconds.
const POLL: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// What a conversation needs to know.
pub(super) struct Conversation<'a> {
    pub(super) turn: &'a Turn,
    pub(super) transport: &'a Transport,
    pub(super) config: &'a AcmeConfig,
    /// Read after the turn began.
    pub(super) view: &'a View,
}

/// A certificate for all names, with its key.
pub(super) struct Issued {
    /// PEM, leaf first.
    pub(super) chain: String,
    /// PEM.
    pub(super) key: Secret,
    pub(super) validity: Validity,
    pub(super) window: Option<Window>,
}

/// In ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before_ms: i64,
    pub(super) not_after_ms: i64,
}

/// When the server suggests to renew, and in how many ms to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) ask_after_ms: i64,
}

impl Conversation<'_> {
    /// Gets a certificate, or continues where another master stopped.
    pub(super) async fn issue(&self) -> Result<Issued, Failure> {
        let account = self.account(true).await?;
        match self.issue_with(&account).await {
            Err(failure) if failure.kind() == Some(Kind::UnknownAccount) => {
                tracing::warn!(%failure, "the ACME account is gone");
                self.issue_with(&self.account(false).await?).await
            }
            issued => issued,
        }
    }

    /// When the server suggests to renew `certificate`. None: it suggests nothing.
    pub(super) async fn window(&self, certificate: &CertificateRecord) -> Result<Option<Window>, Failure> {
        let account = self.account(true).await?;
        let leaf = leaf(&certificate.chain).map_err(|problem| unusable(&problem))?;
        self.ask_window(&account, &leaf).await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: Error) -> Failure {
        Failure::of(error, &self.config.directory_url)
    }

    /// The account of the store, if it is one of this server and `known` is to be used; else a new one.
    async fn account(&self, known: bool) -> Result<Account, Failure> {
        let directory = &self.config.directory_url;
        let record = self.view.account.as_ref().map(|account| &account.record);
        let record = record.filter(|record| known && record.directory == *directory);
        let builder = Account::builder_with_http(Box::new(self.transport.clone()));
        if let Some(record) = record
            && let Ok(credentials) = serde_json::from_str::<AccountCredentials>(record.credentials.reveal())
        {
            return builder.from_credentials(credentials).await.map_err(|error| self.failure(error));
        }
        let contact = self.config.contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let account =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let made = builder.create(&account, directory.clone(), None).await;
        let (account, credentials) = made.map_err(|error| self.failure(error))?;
        let credentials = serde_json::to_string(&credentials).unwrap_or_default().into();
        let record = AccountRecord { directory: directory.clone(), credentials };
        self.turn.commit(Txn::new().put(ACCOUNT, to_bytes(&record))).await?;
        tracing::info!(%directory, "made an ACME account; with it the server's terms are agreed to");
        Ok(account)
    }

    async fn issue_with(&self, account: &Account) -> Result<Issued, Failure> {
        let (mut order, key) = match self.resume(account).await? {
            Some(resumed) => resumed,
            None => self.order(account).await?,
        };
        if order.state().status == OrderStatus::Pending {
            self.prove(&mut order).await?;
            // The answers are polled for with growing pauses: no traffic to speak of.
            match order.poll_ready(&POLL).await {
                Ok(OrderStatus::Ready) => {}
                Ok(_) | Err(Error::Api(_)) => return Err(self.diagnose(&mut order).await),
                Err(error) => return Err(self.failure(error)),
            }
        }
        if order.state().status == OrderStatus::Ready {
            let request = signing_request(&self.config.names, &key)?;
            order.finalize_csr(&request).await.map_err(|error| self.failure(error))?;
        }
        let chain = order.poll_certificate(&POLL).await.map_err(|error| self.failure(error))?;
        let validity = check(&chain, &key, &self.config.names).map_err(|problem| unusable(&problem))?;
        let leaf = leaf(&chain).map_err(|problem| unusable(&problem))?;
        let window = match self.ask_window(account, &leaf).await {
            Ok(window) => window,
            Err(error) => {
                tracing::debug!(%error, "the new certificate's renewal window is asked for later");
                None
            }
        };
        Ok(Issued { chain, key, validity, window })
    }

    /// The order that the store knows, if it is for the same and can still succeed.
    async fn resume(&self, account: &Account) -> Result<Option<(Order, Secret)>, Failure> {
        let record = self.view.order.as_ref().map(|order| &order.record);
        let Some(record) = record.filter(|record| record.wanted == self.config.wanted()) else {
            return Ok(None);
        };
        match account.order(record.url.clone()).await {
            Ok(mut order) => {
                if order.state().status == OrderStatus::Invalid {
                    return Ok(None);
                }
                tracing::info!(order = record.url, "continuing an order that was begun before");
                Ok(Some((order, record.key.clone())))
            }
            Err(Error::Api(problem)) => {
                let failure = Failure::of_problem(&problem, None);
                match failure.kind() {
                    Some(Kind::Refused) => Ok(None),
                    _ => Err(failure),
                }
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// A new order, which names the certificate that it replaces: then some limits do not count.
    async fn order(&self, account: &Account) -> Result<(Order, Secret), Failure> {
        let identifiers: Vec<Identifier> = self.config.names.iter().map(|name| identifier(name)).collect();
        let profile = self.profile(account)?;
        let request = || {
            let order = NewOrder::new(&identifiers);
            match &profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        let former = self.view.certificate.as_ref().map(|certificate| &certificate.record);
        let former = former.filter(|former| former.wanted.directory == self.config.directory_url);
        let former = former.and_then(|former| leaf(&former.chain).ok());
        let former = former.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
        let order = match former {
            None => account.new_order(&request()).await,
            Some(former) => match account.new_order(&request().replaces(former)).await {
                Ok(order) => Ok(order),
                Err(error) if self.may_do_without_replacing(&error) => account.new_order(&request()).await,
                Err(error) => Err(error),
            },
        };
        let order = order.map_err(|error| self.failure(error))?;
        let key = KeyPair::generate().map_err(|error| unusable(&error.to_string()))?;
        let key = Secret::from(key.serialize_pem());
        let wanted = self.config.wanted();
        let record = OrderRecord { wanted, url: order.url().to_owned(), key: key.clone() };
        let order_key = order_key(self.config.first_name());
        self.turn.commit(Txn::new().put(order_key, to_bytes(&record))).await?;
        Ok((order, key))
    }

    /// A server without renewal information, or one that thinks the former certificate replaced, issues all the same.
    fn may_do_without_replacing(&self, error: &Error) -> bool {
        match error {
            Error::Unsupported(_) => true,
            Error::Api(problem) => Failure::of_problem(problem, None).kind() == Some(Kind::Refused),
            Error::Other(error) => error.to_string().contains("replaces"),
            _ => false,
        }
    }

    fn profile(&self, account: &Account) -> Result<Option<String>, Failure> {
        let offered: Vec<&str> = account.profiles().map(|profile| profile.name).collect();
        match &self.config.profile {
            Some(wanted) if !offered.contains(&wanted.as_str()) => {
                let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
                Err(Failure::refused(
                    format!("{} has no profile `{wanted}`", self.config.directory_url),
                    format!("set gateway.acme.profile to one that it has ({offered}), or leave it out"),
                ))
            }
            Some(wanted) => Ok(Some(wanted.clone())),
            None => {
                let addresses = self.config.names.iter().any(|name| name.parse::<IpAddr>().is_ok());
                Ok((addresses && offered.contains(&SHORT_LIVED)).then(|| SHORT_LIVED.to_owned()))
            }
        }
    }

    /// Puts the answer to each name's challenge where all masters find it, then has the server look.
    async fn prove(&self, order: &mut Order) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.failure(error))?;
            // A name that was proved lately is not proved again; a bad one is diagnosed after the poll.
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
                return Err(Failure::refused(
                    format!("{name}: the server offers no challenge by HTTP"),
                    "use gateway.certificate_file for this name",
                ));
            };
            let answer = challenge.key_authorization();
            let key = challenge_key(&challenge.token);
            let answer = answer.as_str().as_bytes().to_vec();
            self.turn.commit(Txn::new().put_leased(key, answer, self.turn.lease())).await?;
            tracing::debug!(name, "the ACME server is asked to check");
            challenge.set_ready().await.map_err(|error| self.failure(error))?;
        }
        Ok(())
    }

    /// Why an order has become invalid: the server says so with the challenge.
    async fn diagnose(&self, order: &mut Order) -> Failure {
        let of_order = order.state().error.as_ref().map(|problem| Failure::of_problem(problem, None));
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            let name = state.identifier().to_string();
            if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return Failure::of_problem(problem, Some(&name));
            }
        }
        of_order.unwrap_or_else(|| {
            Failure::refused("the server has dropped the order without a reason", "it is ordered anew")
        })
    }

    async fn ask_window(
        &self,
        account: &Account,
        leaf: &CertificateDer<'static>,
    ) -> Result<Option<Window>, Error> {
        let Ok(id) = CertificateIdentifier::try_from(leaf) else { return Ok(None) };
        match account.renewal_info(&id).await {
            Ok((info, ask_after)) => {
                let ms = |at: time::OffsetDateTime| {
                    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
                };
                Ok(Some(Window {
                    start_ms: ms(info.suggested_window.start),
                    end_ms: ms(info.suggested_window.end),
                    ask_after_ms: i64::try_from(ask_after.as_millis()).unwrap_or(i64::MAX),
                }))
            }
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn unusable(problem: &str) -> Failure {
    Failure::refused(format!("the certificate cannot be used: {problem}"), "it is ordered anew")
}

fn identifier(name: &str) -> Identifier {
    match name.parse::<IpAddr>() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(name.to_owned()),
    }
}

/// What the server signs: names and public key, in DER.
fn signing_request(names: &[String], key: &Secret) -> Result<Vec<u8>, Failure> {
    let made = || {
        let key = KeyPair::from_pem(key.reveal())?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&key)
    };
    let request = made().map_err(|error: rcgen::Error| unusable(&error.to_string()))?;
    Ok(request.der().to_vec())
}

fn leaf(chain: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|_| "it is no PEM".to_owned())
}

/// PEM texts as TLS uses them, if the key is the certificate's.
pub(super) fn certified(chain: &str, key: &Secret) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "it is no PEM".to_owned())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "its key is no PEM".to_owned())?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| error.to_string())
}

/// Checks that a certificate is for these names and this key, and tells how long it is valid.
pub(super) fn check(chain: &str, key: &Secret, names: &[String]) -> Result<Validity, String> {
    certified(chain, key)?;
    let leaf = leaf(chain)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(|error| error.to_string())?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let has = |name: &String| {
        alternatives.as_ref().is_some_and(|names| {
            names.value.general_names.iter().any(|held| match held {
                x509_parser::extensions::GeneralName::DNSName(held) => held.eq_ignore_ascii_case(name),
                x509_parser::extensions::GeneralName::IPAddress(held) => match name.parse::<IpAddr>() {
                    Ok(IpAddr::V4(v4)) => *held == v4.octets(),
                    Ok(IpAddr::V6(v6)) => *held == v6.octets(),
                    Err(_) => false,
                },
                _ => false,
            })
        })
    };
    if let Some(missing) = names.iter().find(|name| !has(name)) {
        return Err(format!("it is not for {missing}"));
    }
    let validity = parsed.validity();
    let not_before_ms = validity.not_before.timestamp().saturating_mul(1000);
    let not_after_ms = validity.not_after.timestamp().saturating_mul(1000);
    Ok(Validity { not_before_ms, not_after_ms })
}
