//! A value with the ETag under which it was read.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An opaque version of an object or resource, for `If-Match`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Etag(Arc<str>);

/// A resource and its ETag, if the service gave one. Reads as the resource.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    pub value: T,
    pub etag: Option<Etag>,
}

impl Etag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Etag {
    fn from(text: &str) -> Etag {
        Etag(text.into())
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
