//! The headers by which a master tells a node what it has found out. They count only on the internal port, and
//! the gateway takes them off whatever clients send.

use std::net::SocketAddr;

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::{Epoch, NodeId};

/// All of ours begin with this.
const PREFIX: &str = "x-sala-";

const ROOM: HeaderName = HeaderName::from_static("x-sala-room");
const EPOCH: HeaderName = HeaderName::from_static("x-sala-epoch");
const CLIENT: HeaderName = HeaderName::from_static("x-sala-client");
const MASTER: HeaderName = HeaderName::from_static("x-sala-master");

/// Who is behind other proxies. The gateway is the outermost, so what a client says of this is not believed.
const FORWARDING: [HeaderName; 7] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("cf-connecting-ip"),
];

/// Those of one connection, not of the message (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The room that a request was routed by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomClaim {
    pub name: String,
    /// The epoch at which the addressed node serves it, as the master knows.
    pub epoch: Epoch,
}

/// What a master says of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedHeaders {
    /// `None`: the request was not routed by room. The node answers as if no room existed that it does not have.
    pub room: Option<RoomClaim>,
    /// The client's true address.
    pub client: SocketAddr,
    pub master: NodeId,
}

/// A request on the internal port whose headers no master writes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("header {0} is missing or unreadable; do all nodes run compatible versions?")]
pub struct BadHeader(HeaderName);

impl TrustedHeaders {
    /// Sets the headers. A room's name is percent-encoded, because it may hold anything.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        if let Some(RoomClaim { name, epoch }) = &self.room {
            set(ROOM, form_urlencoded::byte_serialize(name.as_bytes()).collect());
            set(EPOCH, epoch.to_string());
        }
        set(CLIENT, self.client.to_string());
        set(MASTER, self.master.0.clone());
    }

    /// Reads what [`TrustedHeaders::write`] wrote. For requests that came in over the internal port only.
    pub fn read(headers: &HeaderMap) -> Result<TrustedHeaders, BadHeader> {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let needed = |name: HeaderName| text(&name).ok_or(BadHeader(name));
        let room = match text(&ROOM) {
            None => None,
            Some(encoded) => {
                let mut decoded = form_urlencoded::parse(encoded.as_bytes());
                let name = decoded.next().ok_or(BadHeader(ROOM))?.0.into_owned();
                let epoch = needed(EPOCH)?.parse().map_err(|_| BadHeader(EPOCH))?;
                Some(RoomClaim { name, epoch })
            }
        };
        let client = needed(CLIENT)?.parse().map_err(|_| BadHeader(CLIENT))?;
        Ok(TrustedHeaders { room, client, master: NodeId(needed(MASTER)?.to_owned()) })
    }
}

/// Takes off a client's request what it may not say, and what is of its connection only. Says who it is.
pub(super) fn clean_request(headers: &mut HeaderMap, client: SocketAddr, secure: bool) {
    clean_response(headers);
    for name in &FORWARDING {
        headers.remove(name);
    }
    // Nobody compresses messages: the gateway must see where they end.
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    // The body is sent again as a whole.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    if let Ok(address) = HeaderValue::try_from(client.ip().to_canonical().to_string()) {
        headers.insert("x-forwarded-for", address);
    }
    let scheme = if secure { "https" } else { "http" };
    headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
}

/// Takes off a message what is of its connection only, named by `Connection` too, and whatever is internal.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let internal = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned();
    let internal: Vec<HeaderName> = internal.collect();
    for name in HOP_BY_HOP.iter().chain(&named).chain(&internal) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_clients_say_of_themselves_is_not_believed() {
        let mut headers = HeaderMap::new();
        for name in
            ["x-sala-room", "X-Sala-Epoch", "x-sala-anything", "x-forwarded-for", "cf-connecting-ip", "x-hop"]
        {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("evil"));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Hop"));
        headers.insert(header::HOST, HeaderValue::from_static("meet.example"));
        clean_request(&mut headers, "192.0.2.7:5".parse().unwrap(), true);
        let left: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(
            left.contains(&("x-forwarded-for", "192.0.2.7"))
                && left.contains(&("x-forwarded-proto", "https"))
        );
        assert!(left.contains(&("host", "meet.example")));
    }

    #[test]
    fn missing_and_broken_headers_are_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(TrustedHeaders::read(&headers), Err(BadHeader(CLIENT)));
        headers.insert(CLIENT, HeaderValue::from_static("nobody"));
        assert_eq!(TrustedHeaders::read(&headers), Err(BadHeader(CLIENT)));
        headers.insert(ROOM, HeaderValue::from_static("a"));
        assert_eq!(TrustedHeaders::read(&headers), Err(BadHeader(EPOCH)));
    }

    proptest! {
        #[test]
        fn any_room_name_survives(name in any::<String>().prop_filter("never empty", |name| !name.is_empty()), number in any::<u64>()) {
            let room = Some(RoomClaim { name, epoch: Epoch { number, provisional: Some(NodeId("m2".into())) } });
            let written = TrustedHeaders { room, client: "[2001:db8::1]:7".parse().unwrap(), master: NodeId("m1".into()) };
            let mut headers = HeaderMap::new();
            written.write(&mut headers);
            prop_assert_eq!(TrustedHeaders::read(&headers).unwrap(), written);
        }
    }
}
