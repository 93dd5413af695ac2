//! A request as handlers see it: whole, with its body, and with its path taken apart.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;

use super::Refusal;

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query as sent, which is what is signed.
    pub(crate) target: String,
    /// The path's parts, decoded. A slash at the end counts for nothing.
    pub(crate) segments: Vec<String>,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// None if the path cannot be decoded.
    pub(crate) fn new(method: Method, target: &str, headers: HeaderMap, body: Bytes) -> Option<Request> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments = path.split('/').map(decoded).collect::<Option<Vec<String>>>()?;
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(Request { method, target: target.into(), segments, query, headers, body })
    }

    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// # Errors
    /// 400 when it is not there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.query(name)
            .ok_or_else(|| Refusal::new(400, "MissingParameter", format!("The parameter {name} is missing.")))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 400 when it is none, or has another form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Refusal::new(400, "CannotParseRequest", format!("The body is not as expected: {error}"))
        })
    }
}

/// Percent-decoded. A plus sign is one in a path.
fn decoded(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_part_by_part() {
        let target = "/n/ns/b/a%2Fb/o/dir/file%20one+?prefix=x%2Fy&empty";
        let request = Request::new(Method::GET, target, HeaderMap::new(), Bytes::new()).unwrap();
        assert_eq!(request.segments, ["n", "ns", "b", "a/b", "o", "dir", "file one+"]);
        assert_eq!(request.query("prefix"), Some("x/y"));
        assert_eq!(request.query("empty"), Some(""));
        for bad in ["", "x", "/%", "/%zz", "/%ff"] {
            assert!(Request::new(Method::GET, bad, HeaderMap::new(), Bytes::new()).is_none(), "{bad}");
        }
    }
}
