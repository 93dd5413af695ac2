use super::*;

/// Chromium 156 with livekit-client over a single connection: three audio and three video sections to receive,
/// data channels, a camera with two simulcast layers and a microphone.
const OFFER: &str = include_str!("fixtures/chromium-publisher.sdp");

fn local() -> Local {
    Local {
        ufrag: "ufrag".into(),
        pwd: "a-password-of-decent-length".into(),
        fingerprint: Fingerprint([7; 32]),
        ice_lite: false,
        candidates: Vec::new(),
        session_id: 1,
    }
}

fn lines<'a>(sdp: &'a str, mid: &str) -> Vec<&'a str> {
    let sections: Vec<&str> = sdp.split("\r\nm=").collect();
    let mark = format!("a=mid:{mid}\r\n");
    let section = sections.into_iter().find(|section| format!("{section}\r\n").contains(&mark));
    section.expect("the section is there").split("\r\n").collect()
}

fn section_of(negotiator: &Negotiator, test: impl Fn(&Section) -> bool) -> Mid {
    negotiator.sections().iter().find(|section| test(section)).expect("such a section").mid
}

#[test]
fn what_chromium_offers_is_understood() {
    let mut negotiator = Negotiator::new();
    negotiator.accept_offer(OFFER).unwrap();
    let camera = section_of(&negotiator, |section| !section.remote_rids().is_empty());
    let rids: Vec<&str> =
        negotiator.section(camera).unwrap().remote_rids().iter().map(|rid| rid.as_str()).collect();
    assert_eq!(rids, ["q", "h"]);
    assert!(negotiator.has_application());
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let free = negotiator.sections().iter().filter(|section| section.is_free(kind)).count();
        assert_eq!(free, 3, "{kind:?}");
    }
    assert_eq!(negotiator.can_receive(Codec::Vp8), Some(true));
    assert_eq!(negotiator.can_receive(Codec::H265), Some(false));
}

#[test]
fn a_published_track_is_answered_with_its_codec_first_and_its_layers() {
    let mut negotiator = Negotiator::new();
    negotiator.accept_offer(OFFER).unwrap();
    let camera = section_of(&negotiator, |section| !section.remote_rids().is_empty());
    let codecs = vec![Codec::H264, Codec::Vp8];
    negotiator.set_receive(camera, ReceivePrefs { codecs, ..ReceivePrefs::default() });
    let answer = negotiator.create_answer(&local(), true);
    let section = lines(&answer, camera.as_str());
    let first_pt = section[0].split(' ').nth(3).unwrap();
    assert!(section.contains(&format!("a=rtpmap:{first_pt} H264/90000").as_str()), "{section:#?}");
    assert!(section.contains(&"a=simulcast:recv q;h"));
    assert!(section.contains(&"a=recvonly"));
    assert!(!section.iter().any(|line| line.contains("AV1")));
}

#[test]
fn a_free_section_is_answered_as_if_we_sent_without_saying_what() {
    let mut negotiator = Negotiator::new();
    negotiator.accept_offer(OFFER).unwrap();
    let free = section_of(&negotiator, |section| section.is_free(MediaKind::Video));
    let answer = negotiator.create_answer(&local(), true);
    let section = lines(&answer, free.as_str());
    assert!(section.contains(&"a=sendonly"));
    assert!(!section.iter().any(|line| line.starts_with("a=msid") || line.starts_with("a=ssrc")));
}

#[test]
fn every_section_keeps_its_place_in_the_answer() {
    let mut negotiator = Negotiator::new();
    negotiator.accept_offer(OFFER).unwrap();
    let answer = negotiator.create_answer(&local(), true);
    let kinds = |sdp: &str| -> Vec<String> {
        let lines = sdp.lines().filter(|line| line.starts_with("m="));
        lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(kinds(OFFER), kinds(&answer));
}

#[test]
fn new_credentials_are_an_ice_restart_and_the_same_ones_are_not() {
    let mut negotiator = Negotiator::new();
    assert_eq!(negotiator.accept_offer(OFFER), Ok(false));
    assert_eq!(negotiator.accept_offer(OFFER), Ok(false));
    assert_eq!(negotiator.accept_offer(&OFFER.replace("a=ice-ufrag:", "a=ice-ufrag:x")), Ok(true));
}

#[test]
fn too_few_and_too_many_sections_are_refused_with_the_reason() {
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n";
    assert_eq!(Description::parse(head), Err(SdpError::NoSections));
    let many: String = (0..500)
        .map(|mid| format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\na=recvonly\r\n"))
        .collect();
    assert_eq!(Description::parse(&format!("{head}{many}")), Err(SdpError::TooManySections));
}

#[test]
fn a_section_that_changes_its_kind_is_refused() {
    let head = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n";
    let section = |kind: &str| format!("{head}m={kind} 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n");
    let mut negotiator = Negotiator::new();
    negotiator.accept_offer(&section("audio")).unwrap();
    assert!(matches!(negotiator.accept_offer(&section("video")), Err(SdpError::SectionChanged(_))));
}
