use proptest::prelude::*;

use super::*;
use crate::Pt;
use crate::rtp::{ExtWriter, HeaderFields, write_header};

const ALL: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
    let exported: Vec<u8> = (0..profile.keying_material_len() as u8).collect();
    let material = KeyingMaterial::split(profile, &exported).unwrap();
    (SrtpSender::new(&material.client), SrtpReceiver::new(&material.client))
}

const HEADER_LEN: usize = 20;

/// A packet with a transport-cc extension, sealed.
fn sealed(sender: &mut SrtpSender, ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 1500];
    let mut exts = ExtWriter::new();
    exts.push(3, &[1, 2]);
    let fields = HeaderFields {
        marker: false,
        padding: false,
        pt: Pt(96),
        seq: index as u16,
        timestamp: 1,
        ssrc: Ssrc(ssrc),
    };
    let header_len = write_header(&mut buf, &fields, &exts);
    assert_eq!(header_len, HEADER_LEN);
    buf[header_len..header_len + payload.len()].copy_from_slice(payload);
    let len = sender.protect_rtp(&mut buf, header_len, payload.len(), (index >> 16) as u32).unwrap();
    buf.truncate(len);
    buf
}

fn open(receiver: &mut SrtpReceiver, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut packet = packet.to_vec();
    let header = RtpHeader::parse(&packet).unwrap();
    let len = receiver.unprotect_rtp(&mut packet, &header)?;
    Ok(packet[header.header_len..len].to_vec())
}

fn cipher(profile: SrtpProfile, key: &str, salt: &str) -> Cipher {
    let (key, short_salt) = (hex(key), hex(salt));
    let mut salt = [0; 14];
    salt[..short_salt.len()].copy_from_slice(&short_salt);
    Cipher::new(profile, &key, salt, &[0; 20])
}

const GCM_KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const GCM_KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const GCM_SALT: &str = "517569642070726f2071756f";

/// RFC 7714 §16.1 and §16.2.
#[test]
fn gcm_seals_rtp_as_in_the_rfc() {
    let plain = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120
                     696e2070 61727465 73207472 6573");
    let sealed_128 = hex("8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
                          42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce");
    let sealed_256 = hex("8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3
                          b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13");
    let cases = [
        (SrtpProfile::AeadAes128Gcm, GCM_KEY_128, sealed_128),
        (SrtpProfile::AeadAes256Gcm, GCM_KEY_256, sealed_256),
    ];
    for (profile, key, want) in cases {
        let cipher = cipher(profile, key, GCM_SALT);
        let mut packet = plain.clone();
        packet.resize(plain.len() + 16, 0);
        cipher.seal_rtp(&mut packet, 12, Ssrc(0x5501_A0B2), 0xF17B);
        assert_eq!(packet, want);
        assert_eq!(cipher.open_rtp(&mut packet, 12, Ssrc(0x5501_A0B2), 0xF17B), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
    }
}

/// RFC 7714 §17.1.
#[test]
fn gcm_seals_rtcp_as_in_the_rfc() {
    let plain = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef
                     deadbeef deadbeef deadbeef deadbeef");
    let want = hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1
                    730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4");
    let cipher = cipher(SrtpProfile::AeadAes128Gcm, GCM_KEY_128, GCM_SALT);
    let mut packet = plain.clone();
    packet.resize(plain.len() + 20, 0);
    cipher.seal_rtcp(&mut packet, plain.len(), Ssrc(0x4D61_7273), 0x5D4);
    assert_eq!(packet, want);
    let word = cipher.rtcp_index_word(&packet);
    assert_eq!(cipher.open_rtcp(&mut packet, Ssrc(0x4D61_7273), word), Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
}

/// RFC 3711 appendix B.2: with SSRC and index zero the keystream is that of the salt.
#[test]
fn counter_mode_has_the_keystream_of_the_rfc() {
    let key = kdf::counter_mode_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C"));
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
    let mut stream = [0; 48];
    kdf::xor_keystream(&key, iv, &mut stream);
    let want = hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                    41E95B3BB0A2E8DD477901E4FCA894C0");
    assert_eq!(stream[..], want);
}

/// RFC 3711 appendix B.3.
#[test]
fn session_keys_are_derived_as_in_the_rfc() {
    let master = MasterKey::new(
        SrtpProfile::Aes128CmSha1_80,
        &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        &hex("0EC675AD498AFEEBB6960B3AABE6"),
    )
    .unwrap();
    let derived = |label, len| {
        let mut key = vec![0xFF; len];
        kdf::derive(&master, label, &mut key);
        key
    };
    assert_eq!(derived(kdf::Label::RtpCipher, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derived(kdf::Label::RtpSalt, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(derived(kdf::Label::RtpAuth, 20), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

#[test]
fn the_exporter_gives_both_keys_before_both_salts() {
    let profile = SrtpProfile::AeadAes128Gcm;
    let exported: Vec<u8> = (0..56).collect();
    let material = KeyingMaterial::split(profile, &exported).unwrap();
    assert_eq!(material.client, MasterKey::new(profile, &exported[..16], &exported[32..44]).unwrap());
    assert_eq!(material.server, MasterKey::new(profile, &exported[16..32], &exported[44..]).unwrap());
    assert_eq!(KeyingMaterial::split(profile, &exported[1..]), Err(SrtpError::KeyingMaterial));
    assert!(!format!("{material:?}").contains("16, 17"), "keys must not be logged");
}

#[test]
fn what_one_side_seals_the_other_opens() {
    for profile in ALL {
        let exported: Vec<u8> = (0..profile.keying_material_len() as u8).collect();
        let material = KeyingMaterial::split(profile, &exported).unwrap();
        let (mut client, mut from_server) = material.clone().into_contexts(true);
        let (mut server, mut from_client) = material.into_contexts(false);
        let up = sealed(&mut client, 7, 1, b"up");
        assert_eq!(up.len(), HEADER_LEN + 2 + profile.tag_len());
        assert_eq!(open(&mut from_client, &up).as_deref(), Ok(&b"up"[..]));
        let down = sealed(&mut server, 8, 1, b"down");
        assert_eq!(open(&mut from_server, &down).as_deref(), Ok(&b"down"[..]));
        assert_eq!(open(&mut from_client, &down), Err(SrtpError::Authentication));
    }
}

#[test]
fn a_changed_bit_anywhere_fails_authentication() {
    for profile in ALL {
        let (mut sender, mut receiver) = pair(profile);
        let packet = sealed(&mut sender, 7, 1, b"payload");
        // The sequence number and the SSRC too; only bits that frame the header are left out.
        for at in 4..packet.len() {
            if (12..16).contains(&at) {
                continue;
            }
            let mut packet = packet.clone();
            packet[at] ^= 0x10;
            assert_eq!(open(&mut receiver, &packet), Err(SrtpError::Authentication), "{profile:?} byte {at}");
        }
        assert!(open(&mut receiver, &packet).is_ok(), "forgeries must not spoil the stream");
    }
}

#[test]
fn a_packet_repeated_as_a_probe_is_rejected_and_the_stream_goes_on() {
    for profile in ALL {
        let (mut sender, mut receiver) = pair(profile);
        let first = sealed(&mut sender, 7, 100, b"a");
        assert!(open(&mut receiver, &first).is_ok());
        for _ in 0..3 {
            assert_eq!(open(&mut receiver, &first), Err(SrtpError::Replayed));
        }
        assert!(open(&mut receiver, &sealed(&mut sender, 7, 101, b"b")).is_ok());
        assert!(open(&mut receiver, &sealed(&mut sender, 7, 99, b"late")).is_ok());
        assert!(open(&mut receiver, &sealed(&mut sender, 7, 2000, b"c")).is_ok());
        assert_eq!(open(&mut receiver, &sealed(&mut sender, 7, 976, b"old")), Err(SrtpError::TooOld));
    }
}

#[test]
fn the_rollover_counter_survives_the_wrap_with_reordering() {
    for profile in ALL {
        let (mut sender, mut receiver) = pair(profile);
        for index in [65_533, 65_535, 65_536, 65_534, 65_538, 65_537, 98_000, 130_000, 131_073] {
            assert!(open(&mut receiver, &sealed(&mut sender, 7, index, b"x")).is_ok(), "{profile:?} {index}");
        }
    }
}

#[test]
fn state_is_kept_for_a_bounded_number_of_streams() {
    let (mut sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    let first = sealed(&mut sender, 0, 5, b"x");
    assert!(open(&mut receiver, &first).is_ok());
    for ssrc in 1..=MAX_SSRCS as u32 {
        assert!(open(&mut receiver, &sealed(&mut sender, ssrc, 5, b"x")).is_ok());
    }
    assert_eq!(receiver.rtp_streams.streams.len(), MAX_SSRCS);
    assert!(open(&mut receiver, &first).is_ok(), "the oldest stream gave way");
}

#[test]
fn forged_packets_occupy_no_state() {
    let (_, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    let (mut stranger, _) = pair(SrtpProfile::AeadAes128Gcm);
    let mut packet = sealed(&mut stranger, 9, 5, b"x");
    *packet.last_mut().unwrap() ^= 1;
    assert!(open(&mut receiver, &packet).is_err());
    assert!(receiver.rtp_streams.streams.is_empty());
}

#[test]
fn rtcp_round_trips_and_rejects_replay_and_tampering() {
    for profile in ALL {
        let (mut sender, mut receiver) = pair(profile);
        let plain = hex("80c90001 00000007 81ce0002 00000007 00000009");
        let seal = |sender: &mut SrtpSender| {
            let mut buf = vec![0; 200];
            buf[..plain.len()].copy_from_slice(&plain);
            let len = sender.protect_rtcp(&mut buf, plain.len()).unwrap();
            assert_eq!(len, plain.len() + sender.rtcp_overhead());
            buf.truncate(len);
            buf
        };
        let (first, second) = (seal(&mut sender), seal(&mut sender));
        assert_ne!(first, second);
        for at in 4..second.len() {
            let mut packet = second.clone();
            packet[at] ^= 1;
            assert_eq!(
                receiver.unprotect_rtcp(&mut packet),
                Err(SrtpError::Authentication),
                "{profile:?} {at}"
            );
        }
        for packet in [&second, &first] {
            let mut opened = packet.clone();
            assert_eq!(receiver.unprotect_rtcp(&mut opened), Ok(plain.len()));
            assert_eq!(opened[..plain.len()], plain);
            assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn unencrypted_rtcp_is_refused() {
    let (_, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    assert_eq!(receiver.unprotect_rtcp(&mut [0; 64]), Err(SrtpError::Unencrypted));
}

#[test]
fn a_key_is_not_used_beyond_its_rtcp_indices() {
    let (mut sender, _) = pair(SrtpProfile::AeadAes128Gcm);
    sender.rtcp_index = RTCP_E_BIT - 1;
    let mut buf = [0; 100];
    assert!(sender.protect_rtcp(&mut buf, 8).is_ok());
    assert_eq!(sender.protect_rtcp(&mut buf, 8), Err(SrtpError::KeyExhausted));
}

#[test]
fn a_slot_without_room_for_the_tag_is_refused() {
    let (mut sender, _) = pair(SrtpProfile::AeadAes128Gcm);
    assert_eq!(sender.protect_rtp(&mut [0x80; 40], 12, 13, 0), Err(SrtpError::NoRoom));
    assert_eq!(sender.protect_rtcp(&mut [0x80; 27], 8), Err(SrtpError::NoRoom));
}

proptest! {
    #[test]
    fn any_bytes_open_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), which in 0usize..3) {
        let (_, mut receiver) = pair(ALL[which]);
        let mut packet = bytes;
        let _ = receiver.unprotect_rtcp(&mut packet);
        if let Some(byte) = packet.first_mut() {
            *byte = *byte & 0x3F | 0x80;
        }
        if let Ok(header) = RtpHeader::parse(&packet) {
            prop_assert!(receiver.unprotect_rtp(&mut packet, &header).is_err());
        }
    }
}

/// Prints the least that sealing and opening 1200 bytes cost in any batch, so that other work on the
/// machine counts little: `cargo test -p sala-rtc --release srtp::tests::cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost() {
    const BATCH: u64 = 500;
    for profile in ALL {
        let (mut sender, mut receiver) = pair(profile);
        let (mut seal_ns, mut open_ns) = (u128::MAX, u128::MAX);
        for batch in 0..200 {
            let indices = batch * BATCH..(batch + 1) * BATCH;
            let mut buf = sealed(&mut sender, 7, 0, &[7; 1200]);
            let begin = std::time::Instant::now();
            for index in indices.clone() {
                buf[2..4].copy_from_slice(&(index as u16).to_be_bytes());
                let roc = (index >> 16) as u32;
                std::hint::black_box(sender.protect_rtp(&mut buf, HEADER_LEN, 1200, roc)).unwrap();
            }
            seal_ns = seal_ns.min(begin.elapsed().as_nanos() / u128::from(BATCH));
            let mut packets: Vec<_> =
                indices.map(|index| sealed(&mut sender, 7, index, &[7; 1200])).collect();
            let begin = std::time::Instant::now();
            for packet in &mut packets {
                let header = RtpHeader::parse(packet).unwrap();
                std::hint::black_box(receiver.unprotect_rtp(packet, &header)).unwrap();
            }
            open_ns = open_ns.min(begin.elapsed().as_nanos() / u128::from(BATCH));
        }
        println!("{profile:?}: seal {seal_ns} ns, open {open_ns} ns");
    }
}
