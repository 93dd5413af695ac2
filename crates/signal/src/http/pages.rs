//! The meeting page and its files, and the health check that shares `/` with it: browsers get the page,
//! everything else gets `OK` (SDKs probe `/` to learn whether the server is reachable).

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::OnceLock;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode, request};
use axum::response::IntoResponse;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Smaller files gain nothing from compression.
const MIN_GZIP_BYTES: usize = 1024;

/// Files below this folder carry a hash of their content in their names.
const HASHED: &str = "/assets/";

/// One file of the page.
pub struct Page {
    /// Path below the root, without a leading slash: `index.html`, `assets/index-1a2b.js`.
    pub path: String,
    pub content: Cow<'static, [u8]>,
}

struct File {
    content: Bytes,
    content_type: &'static str,
    /// Made at the first request that accepts it; empty when it would not be smaller.
    gzipped: OnceLock<Bytes>,
}

/// All files of the meeting page, in memory.
#[derive(Default)]
pub struct Pages {
    /// By request path: `/index.html`.
    files: HashMap<String, File>,
}

impl Pages {
    pub fn new(pages: impl IntoIterator<Item = Page>) -> Self {
        let file = |page: Page| {
            let content_type = content_type(&page.path);
            let content = match page.content {
                Cow::Borrowed(content) => Bytes::from_static(content),
                Cow::Owned(content) => content.into(),
            };
            (format!("/{}", page.path), File { content, content_type, gzipped: OnceLock::new() })
        };
        Self { files: pages.into_iter().map(file).collect() }
    }

    /// Answers a request that no API took.
    pub(crate) fn answer(&self, head: &request::Parts) -> Response<Body> {
        let path = head.uri.path();
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if path == "/" && !(is_read && self.has_index() && accepts(&head.headers, "text/html")) {
            return "OK".into_response();
        }
        let is_screen = path == "/" || path.strip_prefix("/m/").is_some_and(|room| !room.is_empty());
        let file = if is_screen { "/index.html" } else { path };
        match self.files.get(file).filter(|_| is_read) {
            Some(found) => found.answer(head, file.starts_with(HASHED)),
            None => not_found(),
        }
    }

    fn has_index(&self) -> bool {
        self.files.contains_key("/index.html")
    }
}

impl File {
    fn answer(&self, head: &request::Parts, hashed: bool) -> Response<Body> {
        let caching = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let gzipped = accepts_gzip(&head.headers).then(|| self.gzipped()).filter(|bytes| !bytes.is_empty());
        if gzipped.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let body = gzipped.unwrap_or(&self.content);
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        if head.method == Method::GET {
            *response.body_mut() = body.clone().into();
        }
        response
    }

    fn gzipped(&self) -> &Bytes {
        self.gzipped.get_or_init(|| {
            if self.content.len() < MIN_GZIP_BYTES || !is_compressible(self.content_type) {
                return Bytes::new();
            }
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            let gzipped = encoder.write_all(&self.content).and_then(|()| encoder.finish());
            gzipped.ok().filter(|gzipped| gzipped.len() < self.content.len()).unwrap_or_default().into()
        })
    }
}

fn not_found() -> Response<Body> {
    let headers = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(media_type))
    })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn is_compressible(content_type: &str) -> bool {
    content_type.starts_with("text/")
        || matches!(
            content_type,
            "application/json" | "application/wasm" | "application/manifest+json" | "image/svg+xml"
        )
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
