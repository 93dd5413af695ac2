//! The public certificate that all masters show, kept in the store: from an ACME server (Let's Encrypt, or
//! another), and a self-signed one until that has issued the first. Nobody waits for either: a gateway serves from
//! its first moment, and takes a new certificate without a restart.
//!
//! One master at a time talks to the ACME server. The way of a certificate, file by file: [`schedule`] (is it
//! time, and what for) → [`turn`] (may it be us) → [`keeper`] (does it) → [`reach`] (can the server come to us) → [`order`] (the conversation, by
//! [`transport`]) → [`records`] (what is written) → [`view`] (what each master reads of it) → [`share`] (what the
//! gateway shows and answers).
//!
//! Private keys and the account's key lie in the store as they are: whoever reads `/sala/v1/acme/` there can pose as
//! this service. They are never logged.

mod config;
mod keeper;
mod order;
mod problem;
mod reach;
mod records;
mod schedule;
mod self_signed;
mod share;
mod transport;
mod turn;
mod view;

pub use config::{AcmeConfig, BadAcme, Clock, LETS_ENCRYPT};
pub use reach::Reach;
pub use share::{CertificateShare, ShareConfig};
