//! The JSON that Twirp servers answer with: proto field names in snake_case and *every* field present,
//! zero or not. `livekit-protocol` writes proto3 JSON (camelCase, zero values left out), so each response
//! message has its shape here, in the order of the `.proto` file, and [`complete`] fills in what is missing.

use livekit_protocol as proto;
use serde_json::{Map, Value};

/// One message: its fields in order.
pub(crate) type Shape = &'static [(&'static str, Kind)];

/// What stands for an absent field.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    /// Up to 32 bits; wider ones travel as strings.
    Number,
    Number64,
    Bool,
    /// Name of the value with number 0.
    Enum(&'static str),
    /// Repeated scalars or enums.
    List,
    Messages(Shape),
    Map,
    Message(Shape),
    /// `optional` in the proto: left out when unset.
    Optional,
    OptionalMessage(Shape),
}

/// A response that can be written as Twirp JSON.
pub(crate) trait Shaped: serde::Serialize {
    const SHAPE: Shape;
}

/// Serialises a response the way a Twirp server does.
pub(crate) fn to_json<T: Shaped>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let value = serde_json::to_value(message)?;
    serde_json::to_vec(&complete(value, T::SHAPE))
}

fn complete(value: Value, shape: Shape) -> Value {
    let Value::Object(mut present) = value else { return value };
    let mut whole = Map::with_capacity(shape.len());
    for (name, kind) in shape {
        let found = present.remove(&camel_case(name));
        if let Some(value) = found.map_or_else(|| kind.absent(), |value| Some(kind.present(value))) {
            whole.insert((*name).to_owned(), value);
        }
    }
    Value::Object(whole)
}

impl Kind {
    fn absent(self) -> Option<Value> {
        Some(match self {
            Kind::Text => "".into(),
            Kind::Number => 0.into(),
            Kind::Number64 => "0".into(),
            Kind::Bool => false.into(),
            Kind::Enum(zero) => zero.into(),
            Kind::List | Kind::Messages(_) => Value::Array(Vec::new()),
            Kind::Map => Value::Object(Map::new()),
            Kind::Message(_) => Value::Null,
            Kind::Optional | Kind::OptionalMessage(_) => return None,
        })
    }

    fn present(self, value: Value) -> Value {
        match (self, value) {
            (Kind::Message(shape) | Kind::OptionalMessage(shape), value) => complete(value, shape),
            (Kind::Messages(shape), Value::Array(items)) => {
                items.into_iter().map(|item| complete(item, shape)).collect()
            }
            (_, value) => value,
        }
    }
}

/// `num_participants` → `numParticipants`.
fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else {
            out.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    out
}

macro_rules! shaped {
    ($($message:ty => $shape:expr;)*) => { $(impl Shaped for $message { const SHAPE: Shape = $shape; })* };
}

shaped! {
    proto::Room => ROOM;
    proto::ParticipantInfo => PARTICIPANT;
    proto::ListRoomsResponse => &[("rooms", Kind::Messages(ROOM))];
    proto::ListParticipantsResponse => &[("participants", Kind::Messages(PARTICIPANT))];
    proto::MuteRoomTrackResponse => &[("track", Kind::Message(TRACK))];
    proto::DeleteRoomResponse => &[];
    proto::RemoveParticipantResponse => &[];
    proto::UpdateSubscriptionsResponse => &[];
    proto::SendDataResponse => &[];
}

const ROOM: Shape = &[
    ("sid", Kind::Text),
    ("name", Kind::Text),
    ("empty_timeout", Kind::Number),
    ("departure_timeout", Kind::Number),
    ("max_participants", Kind::Number),
    ("creation_time", Kind::Number64),
    ("creation_time_ms", Kind::Number64),
    ("turn_password", Kind::Text),
    ("enabled_codecs", Kind::Messages(&[("mime", Kind::Text), ("fmtp_line", Kind::Text)])),
    ("metadata", Kind::Text),
    ("num_participants", Kind::Number),
    ("num_publishers", Kind::Number),
    ("active_recording", Kind::Bool),
    ("version", Kind::Message(TIMED_VERSION)),
];

const TIMED_VERSION: Shape = &[("unix_micro", Kind::Number64), ("ticks", Kind::Number)];

const PARTICIPANT: Shape = &[
    ("sid", Kind::Text),
    ("identity", Kind::Text),
    ("state", Kind::Enum("JOINING")),
    ("tracks", Kind::Messages(TRACK)),
    ("metadata", Kind::Text),
    ("joined_at", Kind::Number64),
    ("joined_at_ms", Kind::Number64),
    ("name", Kind::Text),
    ("version", Kind::Number),
    ("permission", Kind::Message(PERMISSION)),
    ("region", Kind::Text),
    ("is_publisher", Kind::Bool),
    ("kind", Kind::Enum("STANDARD")),
    ("attributes", Kind::Map),
    ("disconnect_reason", Kind::Enum("UNKNOWN_REASON")),
    ("kind_details", Kind::List),
    ("data_tracks", Kind::Messages(DATA_TRACK)),
    ("client_protocol", Kind::Number),
    ("capabilities", Kind::List),
];

const PERMISSION: Shape = &[
    ("can_subscribe", Kind::Bool),
    ("can_publish", Kind::Bool),
    ("can_publish_data", Kind::Bool),
    ("can_publish_sources", Kind::List),
    ("hidden", Kind::Bool),
    ("recorder", Kind::Bool),
    ("can_update_metadata", Kind::Bool),
    ("agent", Kind::Bool),
    ("can_subscribe_metrics", Kind::Bool),
    ("can_manage_agent_session", Kind::Bool),
];

const TRACK: Shape = &[
    ("sid", Kind::Text),
    ("type", Kind::Enum("AUDIO")),
    ("name", Kind::Text),
    ("muted", Kind::Bool),
    ("width", Kind::Number),
    ("height", Kind::Number),
    ("simulcast", Kind::Bool),
    ("disable_dtx", Kind::Bool),
    ("source", Kind::Enum("UNKNOWN")),
    ("layers", Kind::Messages(LAYER)),
    ("mime_type", Kind::Text),
    ("mid", Kind::Text),
    ("codecs", Kind::Messages(CODEC)),
    ("stereo", Kind::Bool),
    ("disable_red", Kind::Bool),
    ("encryption", Kind::Enum("NONE")),
    ("stream", Kind::Text),
    ("version", Kind::Message(TIMED_VERSION)),
    ("audio_features", Kind::List),
    ("backup_codec_policy", Kind::Enum("PREFER_REGRESSION")),
    ("packet_trailer_features", Kind::List),
];

const LAYER: Shape = &[
    ("quality", Kind::Enum("LOW")),
    ("width", Kind::Number),
    ("height", Kind::Number),
    ("bitrate", Kind::Number),
    ("ssrc", Kind::Number),
    ("spatial_layer", Kind::Number),
    ("rid", Kind::Text),
    ("repair_ssrc", Kind::Number),
];

const CODEC: Shape = &[
    ("mime_type", Kind::Text),
    ("mid", Kind::Text),
    ("cid", Kind::Text),
    ("layers", Kind::Messages(LAYER)),
    ("video_layer_mode", Kind::Enum("MODE_UNUSED")),
    ("sdp_cid", Kind::Text),
];

const DATA_TRACK: Shape = &[
    ("pub_handle", Kind::Number),
    ("sid", Kind::Text),
    ("name", Kind::Text),
    ("encryption", Kind::Enum("NONE")),
    ("frame_encoding", Kind::Optional),
    (
        "schema",
        Kind::OptionalMessage(&[
            ("name", Kind::Text),
            ("encoding", Kind::Enum("DATA_TRACK_SCHEMA_ENCODING_UNSPECIFIED")),
        ]),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn json<T: Shaped>(message: &T) -> String {
        String::from_utf8(to_json(message).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_room_shows_every_field_in_the_order_of_the_proto() {
        assert_eq!(
            json(&proto::Room { name: "r".into(), creation_time_ms: 5_000_000_000, ..Default::default() }),
            concat!(
                r#"{"sid":"","name":"r","empty_timeout":0,"departure_timeout":0,"max_participants":0,"#,
                r#""creation_time":"0","creation_time_ms":"5000000000","turn_password":"","enabled_codecs":[],"#,
                r#""metadata":"","num_participants":0,"num_publishers":0,"active_recording":false,"#,
                r#""version":null}"#
            )
        );
    }

    #[test]
    fn nested_messages_are_completed_too() {
        let participant = proto::ParticipantInfo {
            state: proto::participant_info::State::Active.into(),
            tracks: vec![proto::TrackInfo {
                codecs: vec![proto::SimulcastCodecInfo::default()],
                ..Default::default()
            }],
            permission: Some(proto::ParticipantPermission {
                can_publish_sources: vec![proto::TrackSource::Camera.into()],
                ..Default::default()
            }),
            data_tracks: vec![proto::DataTrackInfo::default()],
            ..Default::default()
        };
        let json = json(&participant);
        for part in [
            r#""state":"ACTIVE""#,
            r#""type":"AUDIO""#,
            r#""video_layer_mode":"MODE_UNUSED""#,
            r#""can_publish_sources":["CAMERA"]"#,
            r#""data_tracks":[{"pub_handle":0,"sid":"","name":"","encryption":"NONE"}]"#,
        ] {
            assert!(json.contains(part), "{part} is missing in {json}");
        }
    }

    #[test]
    fn an_empty_response_is_an_empty_object() {
        assert_eq!(json(&proto::DeleteRoomResponse {}), "{}");
        assert_eq!(json(&proto::ListRoomsResponse::default()), r#"{"rooms":[]}"#);
        assert_eq!(json(&proto::MuteRoomTrackResponse::default()), r#"{"track":null}"#);
    }

    /// A field that the protocol gains must get its line in the shapes: the names here come from the
    /// message itself, with every field set to something that is not its zero.
    #[test]
    fn no_field_of_a_full_message_is_lost() {
        let room = proto::Room {
            sid: "s".into(),
            name: "n".into(),
            empty_timeout: 1,
            departure_timeout: 1,
            max_participants: 1,
            creation_time: 1,
            creation_time_ms: 1,
            turn_password: "p".into(),
            enabled_codecs: vec![proto::Codec { mime: "m".into(), fmtp_line: "f".into() }],
            metadata: "m".into(),
            num_participants: 1,
            num_publishers: 1,
            active_recording: true,
            version: Some(proto::TimedVersion { unix_micro: 1, ticks: 1 }),
        };
        let Value::Object(camel) = serde_json::to_value(&room).unwrap() else { unreachable!() };
        let Value::Object(snake) = serde_json::from_str(&json(&room)).unwrap() else { unreachable!() };
        assert_eq!(camel.len(), snake.len());
        assert_eq!(camel["creationTimeMs"], snake["creation_time_ms"]);
    }
}
