//! The certificate that masters show until there is a better one. All show the same: who has accepted it once is not
//! asked again by another master.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use auth::Secret;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::records::{CertificateRecord, Wanted};
use super::schedule::{DAY_MS, renew_at};

/// Apple's systems take no certificate that is valid for longer than 825 days.
const LIFE_MS: i64 = 800 * DAY_MS;

/// Clocks differ.
const BACKDATE_MS: i64 = DAY_MS;

/// Names that were ever asked for stay in it; beyond this many the oldest certificate's are dropped.
const MAX_NAMES: usize = 50;

/// A new one for `names`, and those of `former`, which masters with another configuration asked for. `chance`
/// between 0 and 1 spreads the renewals.
pub(super) fn make(
    now_ms: i64,
    names: &[String],
    former: Option<&CertificateRecord>,
    chance: f64,
) -> Result<CertificateRecord, rcgen::Error> {
    let mut all: BTreeSet<String> = names.iter().cloned().collect();
    let former = former.map(|former| former.wanted.names.as_slice()).unwrap_or_default();
    if all.len() + former.len() <= MAX_NAMES {
        all.extend(former.iter().cloned());
    }
    let names: Vec<String> = all.into_iter().collect();
    let (not_before_ms, not_after_ms) = (now_ms - BACKDATE_MS, now_ms + LIFE_MS);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Sala, self-signed");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date(not_before_ms);
    params.not_after = date(not_after_ms);
    let certificate = params.self_signed(&key)?;
    Ok(CertificateRecord {
        wanted: Wanted { names, directory: String::new(), profile: None },
        chain: certificate.pem(),
        key: Secret::from(key.serialize_pem()),
        issued_at_ms: now_ms,
        not_after_ms,
        renew_at_ms: renew_at(now_ms, not_before_ms, not_after_ms, chance),
        ask_at_ms: None,
    })
}

/// Whether another one is to be made.
pub(super) fn is_due(record: &CertificateRecord, names: &[String], now_ms: i64) -> bool {
    let covers = names.iter().all(|name| record.wanted.names.contains(name));
    !covers || now_ms >= record.renew_at_ms
}

fn date(ms: i64) -> OffsetDateTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or_default());
    OffsetDateTime::from(UNIX_EPOCH + since)
}

#[cfg(test)]
mod tests {
    use super::super::order::check;
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn one_certificate_serves_masters_that_know_different_names() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (a, b) = (names(&["localhost", "meet.example"]), names(&["localhost", "203.0.113.7", "::1"]));
        let first = make(NOW, &a, None, 0.5).unwrap();
        assert!(!is_due(&first, &a, NOW) && is_due(&first, &b, NOW));
        let both = make(NOW, &b, Some(&first), 0.5).unwrap();
        assert!(!is_due(&both, &a, NOW) && !is_due(&both, &b, NOW));
        let validity = check(&both.chain, &both.key, &[a, b].concat()).unwrap();
        assert_eq!(validity.not_after_ms, NOW + LIFE_MS);
        assert!(check(&both.chain, &first.key, &[]).is_err(), "a key of another certificate");
        assert!(check(&both.chain, &both.key, &names(&["other.example"])).is_err());
        assert!(is_due(&both, &[], both.renew_at_ms) && both.renew_at_ms < both.not_after_ms);
    }
}
