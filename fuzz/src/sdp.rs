//! Session descriptions as clients send them.

use rtc::negotiate::{Description, Negotiator};

const OFFER: &str = include_str!("../../crates/rtc/src/negotiate/fixtures/chromium-publisher.sdp");

#[test]
fn parse_description() {
    fuzz!(&[OFFER.as_bytes()], |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(description) = Description::parse(&text) {
            assert!(!description.sections.is_empty());
            // What can be read can be negotiated, twice over.
            let mut negotiator = Negotiator::new();
            assert!(negotiator.accept_offer(&text).is_ok());
            assert_eq!(negotiator.accept_offer(&text), Ok(false));
        }
    });
}
