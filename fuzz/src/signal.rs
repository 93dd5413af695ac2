//! The signalling protobuf that clients send over the WebSocket.

use livekit_protocol::SignalRequest;
use livekit_protocol::signal_request::Message;
use prost::Message as _;

#[test]
fn decode_request() {
    let ping = SignalRequest { message: Some(Message::Ping(1_700_000_000_000)) }.encode_to_vec();
    let offer = livekit_protocol::SessionDescription {
        r#type: "offer".into(),
        sdp: "v=0\r\n".into(),
        ..Default::default()
    };
    let offer = SignalRequest { message: Some(Message::Offer(offer)) }.encode_to_vec();
    let track = livekit_protocol::AddTrackRequest { cid: "cid".into(), width: 1280, ..Default::default() };
    let track = SignalRequest { message: Some(Message::AddTrack(track)) }.encode_to_vec();
    fuzz!(&[&ping, &offer, &track], |bytes: &[u8]| {
        if let Ok(request) = SignalRequest::decode(bytes) {
            let again = SignalRequest::decode(&request.encode_to_vec()[..]);
            assert_eq!(again.map(|again| again.encoded_len()), Ok(request.encoded_len()));
        }
    });
}
