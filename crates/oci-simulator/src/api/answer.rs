//! What handlers give back.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

/// An answer, ready to send.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(value: &Value) -> Answer {
        let headers = vec![("content-type".into(), "application/json".into())];
        Answer { status: 200, headers, body: Bytes::from(value.to_string()) }
    }

    pub(crate) fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn bytes(content_type: &str, body: Bytes) -> Answer {
        Answer { status: 200, headers: vec![("content-type".into(), content_type.into())], body }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Answer {
        let headers = vec![("content-type".into(), "text/plain".into())];
        Answer { status, headers, body: Bytes::from(text.into()) }
    }

    pub(crate) fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Answer {
        self.status = status;
        self
    }
}

/// An error as OCI's services say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into() }
    }

    /// What both the unauthorised and those who ask for what is not there get.
    pub(crate) fn not_found() -> Refusal {
        Refusal::new(404, "NotAuthorizedOrNotFound", "Authorization failed or requested resource not found.")
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "InvalidParameter", message)
    }

    pub(crate) fn incorrect_state(message: impl Into<String>) -> Refusal {
        Refusal::new(409, "IncorrectState", message)
    }

    /// `If-Match` names another version.
    pub(crate) fn no_etag_match() -> Refusal {
        Refusal::new(412, "NoEtagMatch", "The resource has been modified since it was last read.")
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        let body = json!({"code": refusal.code, "message": refusal.message});
        Answer::json(&body).status(refusal.status)
    }
}

/// A call of a function, which takes longer than a handler may.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) function: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) is_detached: bool,
}

/// What a handler came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Answer),
    Invoke(Invocation),
    /// The connection ends without a word, as of a host that is not there.
    Silence,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Outcome {
        Outcome::Answer(answer)
    }
}

pub(crate) type Reply = Result<Outcome, Refusal>;
