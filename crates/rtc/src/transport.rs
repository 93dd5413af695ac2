//! What lies between datagrams and media: the DTLS session and the data channels that run inside it.

mod data;
mod dcep;
mod dtls;

pub(crate) use data::Carried;
pub use data::{ChannelConfig, ChannelId, DataChannels, DataEvent, MAX_BUFFERED, MAX_MESSAGE, SendError};
pub use dcep::{Dcep, DcepError};
pub(crate) use dtls::{DtlsEvent, DtlsSession, DtlsState};
pub use dtls::{DtlsIdentity, Fingerprint, IdentityError};
