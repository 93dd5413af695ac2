//! Twirp errors: a code with its HTTP status, a message, and metadata (livekit.md §3.1).

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;
use sfu::AdminError;

/// The codes that this server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BadRoute,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Malformed,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unimplemented,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::BadRoute => "bad_route",
            Self::FailedPrecondition => "failed_precondition",
            Self::Internal => "internal",
            Self::InvalidArgument => "invalid_argument",
            Self::Malformed => "malformed",
            Self::NotFound => "not_found",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unimplemented => "unimplemented",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRoute | Self::NotFound => StatusCode::NOT_FOUND,
            Self::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidArgument | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// An error as a Twirp client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TwirpError {
    pub(crate) code: Code,
    message: String,
    /// At most one entry is ever needed.
    meta: Option<(&'static str, String)>,
}

impl TwirpError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), meta: None }
    }

    /// An error that LiveKit's server passes through from its internal bus; the prefix is part of what
    /// clients see there, and some match on the whole text.
    pub(crate) fn relayed(code: Code, message: impl std::fmt::Display) -> Self {
        Self::new(code, format!("twirp error unknown: {message}"))
    }

    pub(crate) fn permission_denied() -> Self {
        Self::new(Code::Unauthenticated, "permissions denied")
    }

    pub(crate) fn room_not_found() -> Self {
        Self::relayed(Code::NotFound, "requested room does not exist")
    }

    pub(crate) fn participant_not_found() -> Self {
        Self::relayed(Code::NotFound, "participant does not exist")
    }

    /// `argument` names the offending field, or what it exceeds; Twirp puts both into the message.
    pub(crate) fn invalid_argument(argument: &str, problem: impl std::fmt::Display) -> Self {
        let message = format!("{argument} {problem}");
        Self { code: Code::InvalidArgument, message, meta: Some(("argument", argument.to_owned())) }
    }

    /// No such service, method, or content type.
    pub(crate) fn bad_route(message: impl Into<String>, method: &str, path: &str) -> Self {
        let meta = Some(("twirp_invalid_route", format!("{method} {path}")));
        Self { code: Code::BadRoute, message: message.into(), meta }
    }
}

impl From<AdminError> for TwirpError {
    fn from(error: AdminError) -> Self {
        let code = match &error {
            AdminError::ParticipantNotFound | AdminError::TrackNotFound => Code::NotFound,
            AdminError::RemoteUnmuteDisabled => Code::FailedPrecondition,
            AdminError::TooLarge(..) | AdminError::InvalidArgument(_) => Code::InvalidArgument,
        };
        // Where the engine's wording is not that of LiveKit's server, the latter counts.
        match error {
            AdminError::RemoteUnmuteDisabled => Self::relayed(code, "remote unmute not enabled"),
            AdminError::TrackNotFound => Self::relayed(code, "track is not found"),
            other => Self::relayed(code, other),
        }
    }
}

impl IntoResponse for TwirpError {
    fn into_response(self) -> Response<Body> {
        let mut body = json!({"code": self.code.name(), "msg": self.message});
        if let Some((key, value)) = self.meta {
            body["meta"] = json!({ key: value });
        }
        let headers = [(header::CONTENT_TYPE, "application/json")];
        (self.code.status(), headers, body.to_string()).into_response()
    }
}
