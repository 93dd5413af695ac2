//! Signs a [`Call`] for the principal and sends it until it is answered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Answer, Budget, Call, HttpClient, Patience, Policy, retrying};
use crate::endpoints::{Endpoints, Service};
use crate::error::{Error, Failure};
use crate::principal::{Principal, PrincipalError};
use crate::services::Versioned;
use crate::signing::{Signer, ToSign};

pub(crate) const AGENT: &str = concat!("sala/", env!("CARGO_PKG_VERSION"));

const REQUEST_ID: &str = "opc-request-id";

/// What the services allow between our clock and theirs.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// Pages of one list; with the usual 100 rows a page far more than a deployment has.
const MAX_PAGES: usize = 50;

/// The way to all services for one principal. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    shared: Arc<Shared>,
    patience: Patience,
}

struct Shared {
    http: HttpClient,
    principal: Principal,
    endpoints: Endpoints,
    policy: Policy,
    budgets: [Budget; Service::COUNT],
}

/// The body of an error.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
}

impl Api {
    pub(crate) fn new(http: HttpClient, principal: Principal, endpoints: Endpoints, policy: Policy) -> Api {
        let budgets = [const { Budget::new() }; Service::COUNT];
        let shared = Shared { http, principal, endpoints, policy, budgets };
        Api { shared: Arc::new(shared), patience: Patience::default() }
    }

    pub(crate) fn patient(&self, patience: Patience) -> Api {
        Api { shared: self.shared.clone(), patience }
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.shared.principal
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.shared.endpoints
    }

    /// The answer, which is a success.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Error> {
        call.checked()?;
        let shared = &*self.shared;
        // An attempt has the call's own time and the call is given as many of the policy's.
        let policy = match call.attempt {
            Some(attempt) => {
                Policy { attempt, deadline: shared.policy.deadline.max(attempt), ..shared.policy }
            }
            None => shared.policy,
        };
        let budget = &shared.budgets[call.service as usize];
        retrying(&policy, self.patience, call.safety, budget, |within| self.attempt(&call, within)).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let operation = call.operation;
        let answer = self.send(call).await?;
        parse(operation, &answer)
    }

    /// With its ETag.
    pub(crate) async fn versioned<T: DeserializeOwned>(&self, call: Call) -> Result<Versioned<T>, Error> {
        let operation = call.operation;
        let answer = self.send(call).await?;
        let value = parse(operation, &answer)?;
        Ok(Versioned { value, etag: answer.header("etag").map(Into::into) })
    }

    /// A list, all pages of it.
    pub(crate) async fn list<T: DeserializeOwned>(&self, call: Call) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut page = None::<String>;
        for _ in 0..MAX_PAGES {
            let answer = self.send(call.clone().query_if("page", page)).await?;
            all.extend(parse::<Vec<T>>(call.operation, &answer)?);
            page = answer.header("opc-next-page").filter(|token| !token.is_empty()).map(str::to_owned);
            if page.is_none() {
                return Ok(all);
            }
        }
        let cause = format!("a list of more than {MAX_PAGES} pages");
        Err(Error::new(call.operation, Failure::BadAnswer { cause }))
    }

    /// One attempt; a signature that is refused is made anew once, since a session may end before its time.
    async fn attempt(&self, call: &Call, within: Duration) -> Result<Answer, Error> {
        let principal = &self.shared.principal;
        let signer = in_time(call, within, principal.signer()).await?;
        let first = self.exchange(call, &signer, within).await;
        match &first {
            Err(error) if error.status() == Some(401) => {
                match in_time(call, within, principal.renewed(&signer)).await? {
                    Some(signer) => self.exchange(call, &signer, within).await,
                    None => first,
                }
            }
            _ => first,
        }
    }

    async fn exchange(&self, call: &Call, signer: &Signer, within: Duration) -> Result<Answer, Error> {
        let request_id = new_request_id();
        let fail = |failure| Error::new(call.operation, failure).with_request_id(Some(request_id.clone()));
        let now = SystemTime::now();
        let request = self.request(call, signer, &request_id, now).map_err(fail)?;
        let answer = self.shared.http.exchange(request, call.limit, within).await.map_err(fail)?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(refusal(call.operation, &answer, now)),
        }
    }

    fn request(
        &self,
        call: &Call,
        signer: &Signer,
        request_id: &str,
        now: SystemTime,
    ) -> Result<Request<Full<bytes::Bytes>>, Failure> {
        let base = match &call.endpoint {
            Some(own) => self.shared.endpoints.checked(own)?,
            None => self.shared.endpoints.of(call.service),
        };
        let id_header = match call.service {
            Service::ObjectStorage => "opc-client-request-id",
            _ => REQUEST_ID,
        };
        let mut headers = HeaderMap::from_iter(call.headers.iter().cloned());
        headers.insert(HeaderName::from_static(id_header), header(request_id)?);
        signed(base, call, headers, signer, true, now)
    }
}

/// A session takes its part of an attempt's time.
async fn in_time<T>(
    call: &Call,
    within: Duration,
    session: impl Future<Output = Result<T, PrincipalError>>,
) -> Result<T, Error> {
    let result = match tokio::time::timeout(within, session).await {
        Ok(result) => result,
        Err(_elapsed) => Err(PrincipalError::Slow(within)),
    };
    result.map_err(|error| Error::new(call.operation, Failure::Principal(error)))
}

/// The signed request; the federation endpoint wants the host left out of the signature.
pub(crate) fn signed(
    base: &Uri,
    call: &Call,
    mut headers: HeaderMap,
    signer: &Signer,
    sign_host: bool,
    now: SystemTime,
) -> Result<Request<Full<bytes::Bytes>>, Failure> {
    let uri = joined(base, &call.target)?;
    let host = uri.authority().map(|host| host.as_str()).unwrap_or_default();
    let date = httpdate::fmt_http_date(now);
    let signed = signer
        .sign(&ToSign {
            method: &call.method,
            target: uri.path_and_query().map_or("/", |target| target.as_str()),
            host: sign_host.then_some(host),
            date: &date,
            content_type: call.content_type,
            body: &call.body,
        })
        .map_err(|error| Failure::Principal(error.into()))?;
    headers.insert(HOST, header(host)?);
    headers.insert(DATE, header(&date)?);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let mut authorization = header(&signed.authorization)?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    if let Some(sha256) = &signed.content_sha256 {
        headers.insert(HeaderName::from_static("x-content-sha256"), header(sha256)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(call.content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(call.body.len()));
    }
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

fn joined(base: &Uri, target: &str) -> Result<Uri, Failure> {
    let prefix = base.path().trim_end_matches('/');
    let whole = format!(
        "{}://{}{prefix}{target}",
        base.scheme_str().unwrap_or("https"),
        base.authority().map(|host| host.as_str()).unwrap_or_default()
    );
    whole.parse().map_err(|_| Failure::BadRequest { cause: format!("{whole:?} is no URL") })
}

fn header(value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(value)
        .map_err(|_| Failure::BadRequest { cause: "a header has a control character".into() })
}

/// The error that an answer other than a success is.
pub(crate) fn refusal(operation: &'static str, answer: &Answer, sent: SystemTime) -> Error {
    let request_id = answer.header(REQUEST_ID).map(str::to_owned);
    let failure = skew(answer, sent).unwrap_or_else(|| {
        let body = serde_json::from_slice::<ErrorBody>(&answer.body).unwrap_or_default();
        let code = match body.code.is_empty() {
            // HEAD has no body.
            true => answer.status.canonical_reason().unwrap_or_default().replace(' ', ""),
            false => body.code,
        };
        let message = body.message.chars().filter(|c| !c.is_control()).take(500).collect();
        Failure::Service {
            status: answer.status.as_u16(),
            code,
            message,
            retry_after: retry_after(answer, sent),
        }
    });
    Error::new(operation, failure).with_request_id(request_id)
}

/// A clock that is off makes every signature invalid, which the service only says as 401.
fn skew(answer: &Answer, sent: SystemTime) -> Option<Failure> {
    if answer.status != StatusCode::UNAUTHORIZED {
        return None;
    }
    let theirs = httpdate::parse_http_date(answer.header("date")?).ok()?;
    let (ahead, by) = match sent.duration_since(theirs) {
        Ok(by) => (true, by),
        Err(behind) => (false, behind.duration()),
    };
    (by > MAX_SKEW).then_some(Failure::ClockSkew { ahead, by })
}

fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let value = answer.header(RETRY_AFTER.as_str())?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

fn parse<T: DeserializeOwned>(operation: &'static str, answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Other texts than this quote the value, which may be a secret.
        let text = error.to_string();
        let cause = match text.starts_with("missing field") {
            true => text,
            false => format!("{:?} at line {} column {}", error.classify(), error.line(), error.column()),
        };
        Error::new(operation, Failure::BadAnswer { cause })
            .with_request_id(answer.header(REQUEST_ID).map(str::to_owned))
    })
}

/// Ours first: an error can be looked up even if no answer came.
fn new_request_id() -> String {
    format!("{:032X}", fastrand::u128(..))
}
