//! A request before it is signed.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::Safety;
use crate::endpoints::Service;
use crate::error::{Error, Failure};

/// All but what RFC 3986 leaves as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Answers of JSON: a page of a list is far smaller.
const MAX_JSON: usize = 4 << 20;

/// A request to a service.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) service: Service,
    /// In the place of the service's own endpoint: some resources have theirs.
    pub(crate) endpoint: Option<Uri>,
    pub(crate) method: Method,
    /// Path and query as on the wire.
    pub(crate) target: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    pub(crate) safety: Safety,
    pub(crate) limit: usize,
    /// In the place of the policy's.
    pub(crate) attempt: Option<Duration>,
    invalid: Option<String>,
}

/// `/20160918/instances/ocid1…` from its segments, which are escaped.
pub(crate) fn path<'a>(segments: impl IntoIterator<Item = &'a str>) -> String {
    segments.into_iter().fold(String::new(), |mut path, segment| {
        // A String takes all.
        let _ = write!(path, "/{}", utf8_percent_encode(segment, ESCAPED));
        path
    })
}

impl Call {
    pub(crate) fn new(operation: &'static str, service: Service, method: Method, path: String) -> Call {
        let safety = match method == Method::POST {
            true => Safety::Once,
            false => Safety::Idempotent,
        };
        Call {
            operation,
            service,
            endpoint: None,
            method,
            target: path,
            headers: Vec::new(),
            content_type: "application/json",
            body: Bytes::new(),
            safety,
            limit: MAX_JSON,
            attempt: None,
            invalid: None,
        }
    }

    pub(crate) fn get(operation: &'static str, service: Service, path: String) -> Call {
        Call::new(operation, service, Method::GET, path)
    }

    pub(crate) fn put(operation: &'static str, service: Service, path: String) -> Call {
        Call::new(operation, service, Method::PUT, path)
    }

    pub(crate) fn post(operation: &'static str, service: Service, path: String) -> Call {
        Call::new(operation, service, Method::POST, path)
    }

    pub(crate) fn delete(operation: &'static str, service: Service, path: String) -> Call {
        Call::new(operation, service, Method::DELETE, path)
    }

    /// To an endpoint that a resource has told.
    pub(crate) fn at(mut self, endpoint: &str) -> Call {
        match endpoint.trim_end_matches('/').parse::<Uri>() {
            Ok(uri) if uri.authority().is_some() && uri.scheme().is_some() => self.endpoint = Some(uri),
            _ => {
                self.invalid =
                    Some(format!("{endpoint:?}, which the resource names as its endpoint, is no URL"))
            }
        }
        self
    }

    pub(crate) fn query(mut self, name: &str, value: impl AsRef<str>) -> Call {
        let sign = if self.target.contains('?') { '&' } else { '?' };
        let value = utf8_percent_encode(value.as_ref(), ESCAPED);
        let _ = write!(self.target, "{sign}{name}={value}");
        self
    }

    pub(crate) fn query_if(self, name: &str, value: Option<impl AsRef<str>>) -> Call {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Call {
        match HeaderValue::from_str(value) {
            Ok(value) => self.headers.push((name, value)),
            Err(_) => self.invalid = Some(format!("the value of header {name} has a control character")),
        }
        self
    }

    /// Only if the resource is still as it was read.
    pub(crate) fn if_match(self, etag: Option<&str>) -> Call {
        match etag {
            Some(etag) => self.header(IF_MATCH, etag),
            None => self,
        }
    }

    /// Only if it does not exist.
    pub(crate) fn if_absent(self) -> Call {
        self.header(IF_NONE_MATCH, "*")
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Call {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body = bytes.into(),
            Err(error) => self.invalid = Some(format!("the request cannot be written as JSON: {error}")),
        }
        self
    }

    pub(crate) fn bytes(mut self, content_type: &'static str, body: Bytes) -> Call {
        self.content_type = content_type;
        self.body = body;
        self
    }

    /// Marks all attempts as one: the service carries out the first that arrives.
    pub(crate) fn retry_token(self) -> Call {
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        self.header(HeaderName::from_static("opc-retry-token"), &token).idempotent()
    }

    /// A POST that changes nothing when it is repeated.
    pub(crate) fn idempotent(mut self) -> Call {
        self.safety = Safety::Idempotent;
        self
    }

    pub(crate) fn limit(mut self, bytes: usize) -> Call {
        self.limit = bytes;
        self
    }

    pub(crate) fn attempt_within(mut self, time: Duration) -> Call {
        self.attempt = Some(time);
        self
    }

    /// What was wrong with the values given, if anything.
    pub(crate) fn checked(&self) -> Result<(), Error> {
        match &self.invalid {
            None => Ok(()),
            Some(cause) => Err(Error::new(self.operation, Failure::BadRequest { cause: cause.clone() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_arrives_as_it_was(segment in ".{1,40}", value in ".{0,40}") {
            let call = Call::get("Test", Service::Core, path(["x", &segment])).query("q", &value);
            let uri: Uri = call.target.parse().unwrap();
            let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
            let segments: Vec<_> = uri.path().split('/').collect();
            prop_assert_eq!((segments.len(), decoded(segments[2])), (3, segment));
            prop_assert_eq!(decoded(uri.query().unwrap().strip_prefix("q=").unwrap()), value);
        }
    }

    #[test]
    fn what_is_odd_in_a_name_stays_one_segment_and_one_value() {
        assert_eq!(path(["n", "ns", "o", "a/b c?#%é"]), "/n/ns/o/a%2Fb%20c%3F%23%25%C3%A9");
        let call = Call::get("Test", Service::Core, path(["x"])).query("a", "1&b=2").query("c", "d+e");
        assert_eq!(call.target, "/x?a=1%26b%3D2&c=d%2Be");
        assert!(call.query("q", "\u{7f}").target.parse::<Uri>().is_ok());
    }

    #[test]
    fn values_that_fit_no_header_are_refused_before_anything_is_sent() {
        let call = Call::put("PutObject", Service::ObjectStorage, path(["n"]));
        let error = call.if_match(Some("a\r\nx: y")).checked().unwrap_err();
        assert!(error.to_string().contains("if-match"), "{error}");
        assert!(!error.is_transient());
    }
}
