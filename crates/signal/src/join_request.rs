//! The `join_request` query parameter of single-peer-connection clients: base64url of a
//! `WrappedJoinRequest`, whose inner `JoinRequest` may be gzipped (livekit.md §1.5). The texts of the
//! errors are LiveKit's.

use std::io::Read;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::GzDecoder;
use livekit_protocol as proto;
use prost::Message;
use proto::wrapped_join_request::Compression;

/// An offer with many sections is some 20 kB. A megabyte bounds what a small gzip bomb can cost.
pub(crate) const MAX_JOIN_REQUEST_BYTES: usize = 1 << 20;

/// SDKs differ in whether they pad.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why the parameter could not be read. All of these are HTTP 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinRequestError {
    #[error("cannot base64 decode wrapped join request")]
    Base64,
    #[error("cannot unmarshal wrapped join request")]
    Wrapper,
    #[error("cannot read decompressed join request")]
    Gzip,
    #[error("join request too large")]
    TooLarge,
    #[error("cannot unmarshal join request")]
    Request,
}

/// Decodes the parameter. Work and memory are bounded by [`MAX_JOIN_REQUEST_BYTES`].
pub(crate) fn decode(parameter: &str) -> Result<proto::JoinRequest, JoinRequestError> {
    let wrapped = BASE64_URL.decode(parameter).map_err(|_| JoinRequestError::Base64)?;
    let wrapped = proto::WrappedJoinRequest::decode(&*wrapped).map_err(|_| JoinRequestError::Wrapper)?;
    let request = match wrapped.compression() {
        Compression::None => wrapped.join_request,
        Compression::Gzip => inflate(&wrapped.join_request)?,
    };
    if request.len() > MAX_JOIN_REQUEST_BYTES {
        return Err(JoinRequestError::TooLarge);
    }
    proto::JoinRequest::decode(&*request).map_err(|_| JoinRequestError::Request)
}

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, JoinRequestError> {
    let mut inflated = Vec::new();
    // One byte more than allowed, so that a request of exactly the limit passes.
    let mut bounded = GzDecoder::new(compressed).take(MAX_JOIN_REQUEST_BYTES as u64 + 1);
    bounded.read_to_end(&mut inflated).map_err(|_| JoinRequestError::Gzip)?;
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use flate2::Compression as Level;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn wrap(compression: Compression, join_request: Vec<u8>) -> Vec<u8> {
        proto::WrappedJoinRequest { compression: compression.into(), join_request }.encode_to_vec()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn request() -> proto::JoinRequest {
        proto::JoinRequest { metadata: "hello".into(), reconnect: true, ..Default::default() }
    }

    #[test]
    fn padded_and_unpadded_plain_and_gzipped_requests_are_read() {
        let plain = wrap(Compression::None, request().encode_to_vec());
        let zipped = wrap(Compression::Gzip, gzip(&request().encode_to_vec()));
        for bytes in [plain, zipped] {
            assert_eq!(decode(&URL_SAFE.encode(&bytes)), Ok(request()));
            assert_eq!(decode(&URL_SAFE_NO_PAD.encode(&bytes)), Ok(request()));
        }
    }

    #[test]
    fn each_layer_of_damage_is_named() {
        let refused = |bytes: Vec<u8>| decode(&URL_SAFE.encode(bytes)).unwrap_err();
        assert_eq!(decode("%%%").unwrap_err(), JoinRequestError::Base64);
        assert_eq!(refused(vec![0xff; 4]), JoinRequestError::Wrapper);
        assert_eq!(refused(wrap(Compression::None, vec![0xff; 4])), JoinRequestError::Request);
        assert_eq!(refused(wrap(Compression::Gzip, vec![1, 2, 3])), JoinRequestError::Gzip);
        let cut = gzip(&request().encode_to_vec());
        assert_eq!(refused(wrap(Compression::Gzip, cut[..cut.len() - 6].into())), JoinRequestError::Gzip);
    }

    #[test]
    fn a_gzip_bomb_is_not_inflated() {
        let bomb = gzip(&vec![0; 64 * MAX_JOIN_REQUEST_BYTES]);
        let refused = decode(&URL_SAFE.encode(wrap(Compression::Gzip, bomb))).unwrap_err();
        assert_eq!(refused, JoinRequestError::TooLarge);
    }

    #[test]
    fn a_request_of_exactly_the_limit_passes() {
        let filler = |metadata_bytes: usize| {
            proto::JoinRequest { metadata: "x".repeat(metadata_bytes), ..Default::default() }.encode_to_vec()
        };
        let overhead = filler(MAX_JOIN_REQUEST_BYTES / 2).len() - MAX_JOIN_REQUEST_BYTES / 2;
        let largest = filler(MAX_JOIN_REQUEST_BYTES - overhead);
        assert_eq!(largest.len(), MAX_JOIN_REQUEST_BYTES);
        assert!(decode(&URL_SAFE.encode(wrap(Compression::Gzip, gzip(&largest)))).is_ok());
        let larger = filler(MAX_JOIN_REQUEST_BYTES - overhead + 1);
        let refused = decode(&URL_SAFE.encode(wrap(Compression::None, larger))).unwrap_err();
        assert_eq!(refused, JoinRequestError::TooLarge);
    }

    proptest! {
        #[test]
        fn no_parameter_makes_the_decoder_panic(text in "[A-Za-z0-9_=-]{0,200}") {
            let _ = decode(&text);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), zip: bool) {
            let compression = if zip { Compression::Gzip } else { Compression::None };
            let _ = decode(&URL_SAFE.encode(wrap(compression, bytes)));
        }
    }
}
