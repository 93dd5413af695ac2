//! The Data Channel Establishment Protocol (RFC 8832): two messages that name a stream.

use crate::transport::data::ChannelConfig;

const MESSAGE_ACK: u8 = 0x02;
const MESSAGE_OPEN: u8 = 0x03;
const UNORDERED: u8 = 0x80;
const OPEN_HEADER: usize = 12;

/// Longest label or protocol name that is accepted, in bytes: ours are under 16, applications' are names.
const MAX_NAME: usize = 1024;

/// A message of the protocol.
#[derive(Debug, PartialEq)]
pub enum Dcep {
    Open(ChannelConfig),
    Ack,
}

/// Why a message was not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DcepError {
    #[error("DCEP message of {0} bytes is too short for what it announces")]
    Truncated(usize),
    #[error("DCEP message type {0} is unknown; only OPEN and ACK exist")]
    UnknownType(u8),
    #[error("DCEP channel type {0:#x} is unknown")]
    UnknownChannelType(u8),
    #[error("DCEP name is longer than {MAX_NAME} bytes or not UTF-8")]
    BadName,
}

impl Dcep {
    /// Reads a message (RFC 8832 §5).
    pub fn parse(message: &[u8]) -> Result<Dcep, DcepError> {
        match message.first() {
            Some(&MESSAGE_ACK) => Ok(Dcep::Ack),
            Some(&MESSAGE_OPEN) => parse_open(message).map(Dcep::Open),
            Some(&other) => Err(DcepError::UnknownType(other)),
            None => Err(DcepError::Truncated(0)),
        }
    }

    /// The message as it goes on the wire.
    pub fn write(&self) -> Vec<u8> {
        let Dcep::Open(config) = self else { return vec![MESSAGE_ACK] };
        let (kind, reliability) = match (config.max_retransmits, config.max_lifetime_ms) {
            (Some(retransmits), _) => (0x01, u32::from(retransmits)),
            (None, Some(lifetime_ms)) => (0x02, u32::from(lifetime_ms)),
            (None, None) => (0x00, 0),
        };
        let kind = if config.ordered { kind } else { kind | UNORDERED };
        let mut out = Vec::with_capacity(OPEN_HEADER + config.label.len() + config.protocol.len());
        out.extend_from_slice(&[MESSAGE_OPEN, kind, 0, 0]);
        out.extend_from_slice(&reliability.to_be_bytes());
        out.extend_from_slice(&(config.label.len() as u16).to_be_bytes());
        out.extend_from_slice(&(config.protocol.len() as u16).to_be_bytes());
        out.extend_from_slice(config.label.as_bytes());
        out.extend_from_slice(config.protocol.as_bytes());
        out
    }
}

fn parse_open(message: &[u8]) -> Result<ChannelConfig, DcepError> {
    let truncated = DcepError::Truncated(message.len());
    let (header, names) = message.split_at_checked(OPEN_HEADER).ok_or(truncated)?;
    let reliability = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let reliability = reliability.min(u32::from(u16::MAX)) as u16;
    let label_len = usize::from(u16::from_be_bytes([header[8], header[9]]));
    let protocol_len = usize::from(u16::from_be_bytes([header[10], header[11]]));
    let (max_retransmits, max_lifetime_ms) = match header[1] & !UNORDERED {
        0x00 => (None, None),
        0x01 => (Some(reliability), None),
        0x02 => (None, Some(reliability)),
        _ => return Err(DcepError::UnknownChannelType(header[1])),
    };
    let label = name(names, 0, label_len)?;
    let protocol = name(names, label_len, protocol_len)?;
    Ok(ChannelConfig {
        label,
        protocol,
        ordered: header[1] & UNORDERED == 0,
        max_retransmits,
        max_lifetime_ms,
    })
}

fn name(names: &[u8], start: usize, len: usize) -> Result<String, DcepError> {
    if len > MAX_NAME {
        return Err(DcepError::BadName);
    }
    let bytes = names.get(start..start + len).ok_or(DcepError::Truncated(names.len()))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| DcepError::BadName)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_channel_survives_the_wire_with_its_reliability() {
        for (ordered, max_retransmits, max_lifetime_ms) in
            [(true, None, None), (false, Some(0), None), (false, None, Some(150)), (true, Some(7), None)]
        {
            let label = "_lossy".to_owned();
            let protocol = "p".to_owned();
            let open =
                Dcep::Open(ChannelConfig { label, protocol, ordered, max_retransmits, max_lifetime_ms });
            assert_eq!(Dcep::parse(&open.write()), Ok(open));
        }
        assert_eq!(Dcep::parse(&Dcep::Ack.write()), Ok(Dcep::Ack));
    }

    #[test]
    fn lengths_beyond_the_message_are_refused() {
        let mut open = Dcep::Open(ChannelConfig::reliable("_reliable")).write();
        open[9] = 200;
        assert!(matches!(Dcep::parse(&open), Err(DcepError::Truncated(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Dcep::parse(&bytes);
        }
    }
}
