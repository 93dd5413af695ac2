//! Who may do what: API keys, access tokens (HS256 JWTs as LiveKit defines them), the grants within and
//! the invite codes of the meeting page. No HTTP and no clock: time is an argument.

mod claims;
mod invite;
mod keys;
mod token;

pub use claims::{AgentGrant, Claims, SipGrant, VideoGrant};
pub use invite::{InviteCode, constant_time_eq};
pub use keys::{KeyError, KeyStore, Secret, random_key_pair};
pub use token::{DEFAULT_TTL, REFRESH_TTL, TokenError, Verified};
