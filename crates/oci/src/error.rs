//! What a call to the cloud fails with, and what the operator can do about it.

use std::fmt;
use std::time::Duration;

use crate::principal::PrincipalError;

/// A failed call: which operation, why, after how many attempts, and what mends it. Its text never holds a secret.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    operation: &'static str,
    failure: Failure,
    request_id: Option<String>,
    attempts: u32,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    /// The service answered with an error.
    Service { status: u16, code: String, message: String, retry_after: Option<Duration> },
    /// No connection: name resolution, TCP or TLS.
    Unreachable { host: String, cause: String },
    /// The connection broke after the request was sent: it may have been carried out.
    Broken { host: String, cause: String },
    /// No answer in time: the request may have been carried out.
    TimedOut { host: String, after: Duration },
    /// Our clock is off by more than the services allow.
    ClockSkew { ahead: bool, by: Duration },
    /// An answer that cannot be understood.
    BadAnswer { cause: String },
    /// An answer larger than we take.
    TooLarge { limit: usize },
    /// The request could not be made from what was given.
    BadRequest { cause: String },
    /// No signature could be made.
    Principal(PrincipalError),
}

impl Error {
    pub(crate) fn new(operation: &'static str, failure: Failure) -> Error {
        Error(Box::new(Inner { operation, failure, request_id: None, attempts: 1 }))
    }

    pub(crate) fn with_request_id(mut self, id: Option<String>) -> Error {
        self.0.request_id = id.or(self.0.request_id);
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Error {
        self.0.attempts = attempts;
        self
    }

    /// The operation as Oracle's API reference names it, such as `GetInstance`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    pub fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// Status of the service's answer, if it answered.
    pub fn status(&self) -> Option<u16> {
        match &self.0.failure {
            Failure::Service { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Oracle's code of the error, such as `NotAuthorizedOrNotFound`; empty if there is none.
    pub fn code(&self) -> &str {
        match &self.0.failure {
            Failure::Service { code, .. } => code,
            _ => "",
        }
    }

    /// `opc-request-id`, by which Oracle's support finds the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// 404. For most resources this may also mean that a policy is missing: see [`Error::is_not_authorized`].
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The caller may lack a permission: 401, 403, or 404 `NotAuthorizedOrNotFound`, by which the services hide which of
    /// both it is.
    pub fn is_not_authorized(&self) -> bool {
        match self.status() {
            Some(401 | 403) => true,
            Some(400 | 404 | 409) => {
                self.code().contains("NotAuthorized") || self.code() == "InsufficientServicePermissions"
            }
            _ => false,
        }
    }

    /// 412: the object or resource is not (or no longer) as `If-Match` or `If-None-Match` demanded.
    pub fn is_precondition_failed(&self) -> bool {
        self.status() == Some(412)
    }

    /// 409 or 412: somebody else was first, or the resource's state does not allow it now.
    pub fn is_conflict(&self) -> bool {
        matches!(self.status(), Some(409 | 412))
    }

    /// 409 `IncorrectState`: the resource is in transition; later it may do.
    pub fn is_incorrect_state(&self) -> bool {
        self.status() == Some(409) && matches!(self.code(), "IncorrectState" | "LockConflict")
    }

    /// 429, or a limit of the tenancy.
    pub fn is_throttled(&self) -> bool {
        self.status() == Some(429)
    }

    /// A limit of the tenancy, or of a resource such as a secret's versions, is reached.
    pub fn is_limit_exceeded(&self) -> bool {
        matches!(self.code(), "LimitExceeded" | "QuotaExceeded" | "OutOfHostCapacity")
    }

    pub fn is_clock_skew(&self) -> bool {
        matches!(self.0.failure, Failure::ClockSkew { .. })
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match &self.0.failure {
            Failure::Service { status, .. } => {
                matches!(status, 408 | 429 | 500..=599) && *status != 501 && !self.is_limit_exceeded()
                    || self.is_incorrect_state()
            }
            Failure::Unreachable { .. } | Failure::Broken { .. } | Failure::TimedOut { .. } => true,
            Failure::Principal(error) => error.is_transient(),
            Failure::ClockSkew { .. }
            | Failure::BadAnswer { .. }
            | Failure::TooLarge { .. }
            | Failure::BadRequest { .. } => false,
        }
    }

    /// Whether the request may have been carried out although no answer says so.
    pub fn is_ambiguous(&self) -> bool {
        match &self.0.failure {
            Failure::Broken { .. } | Failure::TimedOut { .. } => true,
            Failure::Service { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// One sentence: what to do.
    pub fn remedy(&self) -> &'static str {
        match &self.0.failure {
            Failure::Service { status, code, .. } => service_remedy(*status, code),
            Failure::Unreachable { .. } => {
                "check that the machine resolves the name and reaches it: subnet route, NAT or service gateway, NSG"
            }
            Failure::Broken { .. } | Failure::TimedOut { .. } => {
                "check the network path and https://ocistatus.oraclecloud.com"
            }
            Failure::ClockSkew { .. } => {
                "set the machine's clock: `timedatectl set-ntp true`, and check that 169.254.169.254 port 123 answers"
            }
            Failure::BadAnswer { .. } => {
                "report it with the request id; a proxy that alters answers also does this"
            }
            Failure::TooLarge { .. } => "remove what is unexpectedly large",
            Failure::BadRequest { .. } => "correct the value that the message names",
            Failure::Principal(error) => error.remedy(),
        }
    }
}

fn service_remedy(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "LimitExceeded" | "QuotaExceeded") => {
            "raise the tenancy's service limit or remove what is no longer used"
        }
        (_, "OutOfHostCapacity") => "choose another shape or availability domain, or try again later",
        (401, _) => {
            "the signature was not accepted: check the API key and its fingerprint, or the instance's dynamic group"
        }
        (403, _) | (404 | 400 | 409, "NotAuthorizedOrNotFound" | "NotAuthorizedOrResourceAlreadyExists") => {
            "check that the resource exists and that the dynamic group and its policy allow this; new policies take \
             up to two minutes"
        }
        (404, _) => "check the name or OCID and the region",
        (409, _) => "wait until the resource has left its transition, then try again",
        (412, _) => "somebody else changed it in between; read it again before writing",
        (429, _) => "too many requests: call less often, or ask Oracle for a higher limit",
        (500.., _) => "a fault of the service: try again later, see https://ocistatus.oraclecloud.com",
        _ => "correct what the message names",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.failure)?;
        match (&self.0.request_id, self.0.attempts) {
            (None, 0..=1) => {}
            (Some(id), 0..=1) => write!(f, " (request {id})")?,
            (None, attempts) => write!(f, " ({attempts} attempts)")?,
            (Some(id), attempts) => write!(f, " (request {id}, {attempts} attempts)")?,
        }
        write!(f, "; {}", self.remedy())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Service { status, code, message, .. } if message.is_empty() => {
                write!(f, "{status} {code}")
            }
            Failure::Service { status, code, message, .. } => {
                write!(f, "{status} {code}: {}", message.trim_end_matches('.'))
            }
            Failure::Unreachable { host, cause } => write!(f, "no connection to {host}: {cause}"),
            Failure::Broken { host, cause } => write!(f, "the connection to {host} broke: {cause}"),
            Failure::TimedOut { host, after } => write!(f, "no answer from {host} within {after:?}"),
            Failure::ClockSkew { ahead, by } => {
                let side = if *ahead { "ahead of" } else { "behind" };
                write!(f, "this machine's clock is {} s {side} Oracle's, 300 s are allowed", by.as_secs())
            }
            Failure::BadAnswer { cause } => write!(f, "an answer that cannot be understood: {cause}"),
            Failure::TooLarge { limit } => write!(f, "an answer of more than {limit} bytes"),
            Failure::BadRequest { cause } => f.write_str(cause),
            Failure::Principal(error) => write!(f, "not signed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.failure {
            Failure::Principal(error) => Some(error),
            _ => None,
        }
    }
}
