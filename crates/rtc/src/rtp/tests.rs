use proptest::prelude::*;

use super::*;

fn fields() -> HeaderFields {
    HeaderFields {
        marker: true,
        padding: false,
        pt: Pt(96),
        seq: 0xFFFE,
        timestamp: 0xDEAD_BEEF,
        ssrc: Ssrc(0x0102_0304),
    }
}

fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let header = RtpHeader::parse(packet).unwrap();
    header.extensions(packet).map(|element| (element.id, element.data.to_vec())).collect()
}

#[test]
fn a_header_without_extensions_is_twelve_bytes() {
    let mut buf = [0xFF; 64];
    let len = write_header(&mut buf, &fields(), &ExtWriter::new());
    assert_eq!(&buf[..len], [0x80, 0xE0, 0xFF, 0xFE, 0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4]);
    let header = RtpHeader::parse(&buf[..len]).unwrap();
    assert_eq!(HeaderFields::from(&header), fields());
    assert_eq!((header.header_len, header.ext_range()), (12, 0..0));
}

#[test]
fn a_dirty_slot_does_not_leak_into_extension_padding() {
    let mut buf = [0xFF; 64];
    let mut writer = HeaderWriter::new(&mut buf, &fields(), ExtForm::OneByte);
    let at = writer.ext(5, &[0x12, 0x34]);
    let len = writer.finish();
    assert_eq!((len, at), (20, 17));
    assert_eq!(&buf[12..len], [0xBE, 0xDE, 0, 1, 0x51, 0x12, 0x34, 0]);
}

#[test]
fn a_long_dependency_descriptor_switches_to_the_two_byte_form() {
    let descriptor = [7; 80];
    let mut exts = ExtWriter::new();
    assert!(exts.push(3, &[1, 2]) && exts.push(12, &descriptor) && exts.push(4, b"0"));
    let mut buf = [0xFF; 256];
    let len = write_header(&mut buf, &fields(), &exts);
    assert_eq!(&buf[12..14], [0x10, 0x00]);
    assert_eq!(elements(&buf[..len]), [(3, vec![1, 2]), (12, descriptor.to_vec()), (4, b"0".to_vec())]);
}

#[test]
fn an_id_beyond_fourteen_switches_to_the_two_byte_form() {
    let mut exts = ExtWriter::new();
    exts.push(20, &[9]);
    let mut buf = [0; 64];
    let len = write_header(&mut buf, &fields(), &exts);
    assert_eq!(elements(&buf[..len]), [(20, vec![9])]);
    assert_eq!(ExtForm::fitting(20, 1), ExtForm::TwoByte);
    assert_eq!(ExtForm::fitting(14, 16), ExtForm::OneByte);
}

#[test]
fn csrcs_and_padding_between_elements_are_passed_over() {
    let packet = [
        0x92, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, // Two CSRCs and an extension block of two words.
        1, 1, 1, 1, 2, 2, 2, 2, 0xBE, 0xDE, 0, 2, 0x10, 0xAA, 0, 0, 0x21, 0xBB, 0xCC, 0, 0x99,
    ];
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.header_len, 32);
    assert_eq!(elements(&packet), [(1, vec![0xAA]), (2, vec![0xBB, 0xCC])]);
    let second = header.extensions(&packet).nth(1).unwrap();
    assert_eq!(packet[second.offset..][..2], [0xBB, 0xCC]);
    assert_eq!(header.payload(&packet), Ok(32..33));
}

#[test]
fn id_fifteen_and_overlong_elements_end_the_block() {
    let block = |words: [u8; 4]| {
        [[0x90, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3].as_slice(), &[0xBE, 0xDE, 0, 1], &words].concat()
    };
    assert_eq!(elements(&block([0xF0, 1, 0x10, 2])), []);
    assert_eq!(elements(&block([0x10, 1, 0x2F, 2])), [(1, vec![1])]);
    assert_eq!(elements(&block([0x03, 1, 0x10, 2])), []);
}

#[test]
fn padding_is_cut_from_the_payload_and_checked() {
    let packet = |tail: &[u8]| [[0xA0, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3].as_slice(), tail].concat();
    let payload = |tail: &[u8]| RtpHeader::parse(&packet(tail)).unwrap().payload(&packet(tail));
    assert_eq!(payload(&[7, 7, 0, 2]), Ok(12..14));
    assert_eq!(payload(&[0, 0, 0, 4]), Ok(12..12), "padding only, as probes are");
    assert_eq!(payload(&[0, 0, 0, 5]), Err(RtpError::Padding));
    assert_eq!(payload(&[1, 0]), Err(RtpError::Padding));
    assert_eq!(payload(&[]), Err(RtpError::Padding));
}

#[test]
fn protocols_on_one_port_are_told_apart() {
    assert_eq!(classify(&[0, 1, 0, 0]), DatagramKind::Stun);
    assert_eq!(classify(&[22, 254, 253]), DatagramKind::Dtls);
    assert_eq!(classify(&[0x80, 0xE0]), DatagramKind::Rtp, "marker with payload type 96");
    assert_eq!(classify(&[0x80, 0x6F]), DatagramKind::Rtp);
    assert_eq!(classify(&[0x81, 200]), DatagramKind::Rtcp);
    assert_eq!(classify(&[0x8F, 205]), DatagramKind::Rtcp);
    for noise in [&[][..], &[0x80], &[0x40, 0], &[16, 0], &[0xFF, 0xFF]] {
        assert_eq!(classify(noise), DatagramKind::Unknown);
    }
}

proptest! {
    #[test]
    fn any_bytes_parse_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x80u8..0xC0) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        classify(&bytes);
        if let Ok(header) = RtpHeader::parse(&bytes) {
            prop_assert!(header.header_len <= bytes.len());
            for element in header.extensions(&bytes) {
                prop_assert_eq!(&bytes[element.offset..][..element.data.len()], element.data);
            }
            if let Ok(range) = header.payload(&bytes) {
                prop_assert!(range.end <= bytes.len() && range.start <= range.end);
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        exts in prop::collection::vec((1u8..=14, prop::collection::vec(any::<u8>(), 1..40)), 0..8)
    ) {
        let mut writer = ExtWriter::new();
        for (id, data) in &exts {
            prop_assert!(writer.push(*id, data));
        }
        let mut buf = [0xFF; 1500];
        let len = write_header(&mut buf, &fields(), &writer);
        prop_assert_eq!(len % 4, 0);
        prop_assert_eq!(elements(&buf[..len]), exts);
        prop_assert_eq!(HeaderFields::from(&RtpHeader::parse(&buf[..len]).unwrap()), fields());
    }
}
