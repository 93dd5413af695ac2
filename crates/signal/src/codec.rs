//! Signal messages on the wire: binary frames are protobuf, text frames are proto3 JSON. The server answers
//! in the format it last received and starts with protobuf (livekit.md §1.6).

use axum::extract::ws::Message as Frame;
use livekit_protocol as proto;
use prost::Message;

/// Why a frame could not be read. The session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("signal message is not protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("signal message is not proto3 JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The format in force on one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Protobuf,
    Json,
}

impl Format {
    /// Decodes a binary frame and switches to protobuf.
    pub(crate) fn decode_binary(&mut self, payload: &[u8]) -> Result<proto::SignalRequest, CodecError> {
        *self = Self::Protobuf;
        Ok(proto::SignalRequest::decode(payload)?)
    }

    /// Decodes a text frame and switches to JSON.
    pub(crate) fn decode_text(&mut self, payload: &str) -> Result<proto::SignalRequest, CodecError> {
        *self = Self::Json;
        Ok(serde_json::from_str(payload)?)
    }

    /// Encodes a response in the format in force.
    pub(crate) fn encode(self, response: &proto::SignalResponse) -> Frame {
        match self {
            Self::Protobuf => Frame::Binary(response.encode_to_vec().into()),
            Self::Json => {
                let json = serde_json::to_string(response);
                Frame::Text(json.expect("the engine writes no enum value that the protocol lacks").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::{signal_request, signal_response};

    use super::*;

    fn pong() -> proto::SignalResponse {
        proto::SignalResponse { message: Some(signal_response::Message::Pong(7)) }
    }

    #[test]
    fn the_last_received_format_is_mirrored() {
        let mut format = Format::default();
        assert!(matches!(format.encode(&pong()), Frame::Binary(_)));
        let request = format.decode_text(r#"{"ping":"5","futureField":{}}"#).unwrap();
        assert_eq!(request.message, Some(signal_request::Message::Ping(5)));
        assert_eq!(format.encode(&pong()), Frame::Text(r#"{"pong":"7"}"#.into()));
        format.decode_binary(&request.encode_to_vec()).unwrap();
        assert!(matches!(format.encode(&pong()), Frame::Binary(_)));
    }

    #[test]
    fn a_message_of_a_newer_client_decodes_to_nothing() {
        let mut unknown_oneof = Vec::new();
        prost::encoding::string::encode(900, &"future".to_owned(), &mut unknown_oneof);
        assert_eq!(Format::default().decode_binary(&unknown_oneof).unwrap().message, None);
    }

    proptest! {
        #[test]
        fn no_frame_makes_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,100}") {
            let _ = Format::default().decode_binary(&bytes);
            let _ = Format::default().decode_text(&text);
        }
    }
}
