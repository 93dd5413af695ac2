//! What clients see of a master: HTTPS and HTTP listeners that find the node that serves a request's room, carry
//! the request or WebSocket there, and tell the client at once when that node dies.
//!
//! A request's way, file by file: [`listener`] (TCP, PROXY protocol, TLS, HTTP) → [`request`] (which room) →
//! [`forward`] (which node, again if that was wrong) → the node, or for a WebSocket [`splice`]. [`bridge`] carries
//! plain TCP ports. What the cluster knows comes through the trait [`Director`].

mod body;
mod bridge;
mod certificate;
mod config;
mod director;
mod forward;
mod frames;
mod headers;
mod list_rooms;
mod listener;
mod member;
mod proxy_protocol;
mod request;
mod server;
mod splice;

pub use config::{
    Bridge, Certificate, CertificateFiles, Cidr, GatewayConfig, GatewayError, Limits, ProxyProtocol,
};
pub use director::{Director, MediaNode, Route, RouteError};
pub use headers::{BadHeader, RoomClaim, TrustedHeaders};
pub use proxy_protocol::{ProxyError, ProxyHeader};
pub use server::Gateway;

#[cfg(test)]
mod tests;
