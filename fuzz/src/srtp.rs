//! Opening SRTP and SRTCP: forgeries of any shape are refused.

use std::sync::Mutex;

use rtc::rtp::RtpHeader;
use rtc::srtp::{KeyingMaterial, SrtpProfile, SrtpReceiver};

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80];

fn receivers() -> [SrtpReceiver; 3] {
    PROFILES.map(|profile| {
        let exported = vec![7; profile.keying_material_len()];
        let material = KeyingMaterial::split(profile, &exported).expect("enough bytes were exported");
        SrtpReceiver::new(&material.client)
    })
}

#[test]
fn unprotect_rtp() {
    let receivers = Mutex::new(receivers());
    let seed: &[u8] = &[0x80; 60];
    fuzz!(&[seed, crate::rtp::ONE_BYTE], |packet: &[u8]| {
        let Ok(header) = RtpHeader::parse(packet) else { return };
        for receiver in receivers.lock().expect("one thread").iter_mut() {
            assert!(receiver.unprotect_rtp(&mut packet.to_vec(), &header).is_err());
        }
    });
}

#[test]
fn unprotect_rtcp() {
    let receivers = Mutex::new(receivers());
    let seed: &[u8] = &[0x80; 60];
    fuzz!(&[seed], |packet: &[u8]| {
        for receiver in receivers.lock().expect("one thread").iter_mut() {
            assert!(receiver.unprotect_rtcp(&mut packet.to_vec()).is_err());
        }
    });
}
