//! Errors of the meeting API: `{"error":{"code","message"}}`, for a page to act on the code and show the
//! message.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("user name or password is wrong")]
    WrongLogin,
    #[error("too many wrong logins from this address; wait a minute")]
    TooManyAttempts,
    #[error("this link does not open the meeting; ask for a new one")]
    WrongInvite,
    #[error("{0}")]
    BadRequest(String),
    #[error("meetings are switched off on this server; set meeting.admin_password_file in its configuration")]
    Disabled,
    #[error("no such route; use POST /api/v1/meetings or /api/v1/meetings/join")]
    NoSuchRoute,
    #[error("only POST is allowed")]
    MethodNotAllowed,
}

impl ApiError {
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            // No WWW-Authenticate: browsers would put their own dialogue before the page's form.
            Self::WrongLogin => (StatusCode::UNAUTHORIZED, "wrong_login"),
            Self::TooManyAttempts => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::WrongInvite => (StatusCode::FORBIDDEN, "wrong_invite"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::Disabled => (StatusCode::NOT_FOUND, "meetings_disabled"),
            Self::NoSuchRoute => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let (status, code) = self.code();
        let body = json!({"error": {"code": code, "message": self.to_string()}});
        (status, axum::Json(body)).into_response()
    }
}
