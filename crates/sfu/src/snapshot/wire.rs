//! Messages of LiveKit's protocol within a snapshot: as bytes, which hold whatever a client of any version said. Their
//! JSON form knows no values that its own version does not know, and a room with one such client could not move.
//! Read as JSON, too, as the first version wrote them.

use livekit_protocol as proto;
use prost::Message;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message in either form.
struct Wire<T>(T);

#[derive(Deserialize)]
#[serde(untagged)]
enum Form<T> {
    Encoded(Vec<u8>),
    Json(T),
}

impl<'de, T: Message + Default + DeserializeOwned> Deserialize<'de> for Wire<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::<T>::deserialize(deserializer)? {
            Form::Encoded(bytes) => T::decode(bytes.as_slice()).map(Wire).map_err(D::Error::custom),
            Form::Json(message) => Ok(Wire(message)),
        }
    }
}

pub(super) mod message {
    use super::*;

    pub(crate) fn serialize<T: Message, S: Serializer>(message: &T, to: S) -> Result<S::Ok, S::Error> {
        message.encode_to_vec().serialize(to)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: Message + Default + DeserializeOwned,
        D: Deserializer<'de>,
    {
        Wire::deserialize(from).map(|Wire(message)| message)
    }
}

pub(super) mod messages {
    use super::*;

    pub(crate) fn serialize<T: Message, S: Serializer>(messages: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(messages.iter().map(Message::encode_to_vec))
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: Message + Default + DeserializeOwned,
        D: Deserializer<'de>,
    {
        let messages = Vec::<Wire<T>>::deserialize(from)?;
        Ok(messages.into_iter().map(|Wire(message)| message).collect())
    }
}

pub(super) mod maybe_messages {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        messages: &Option<Vec<proto::TrackPermission>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let encoded = |message: &proto::TrackPermission| message.encode_to_vec();
        messages.as_ref().map(|messages| messages.iter().map(encoded).collect::<Vec<_>>()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<proto::TrackPermission>>, D::Error> {
        let messages = Option::<Vec<Wire<proto::TrackPermission>>>::deserialize(from)?;
        Ok(messages.map(|messages| messages.into_iter().map(|Wire(message)| message).collect()))
    }
}
