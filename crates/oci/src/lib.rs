//! Oracle Cloud: the signatures of its requests, with an API key or the key of a session. What it is not: an SDK, and
//! no boot or drain, which are built on it.

pub mod signing;
