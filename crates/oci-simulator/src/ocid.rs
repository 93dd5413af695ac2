//! Oracle's identifiers: `ocid1.<type>.oc1.<region key>.<60 letters and digits>`.

/// An OCID for a resource of the configuration: the same whenever the names are.
pub(crate) fn named(kind: &str, region_key: &str, name: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{kind}/{name}").as_bytes());
    format!("ocid1.{kind}.oc1.{region_key}.{}", letters(digest.as_ref()))
}

/// An OCID that nobody has.
pub(crate) fn fresh(kind: &str, region_key: &str) -> String {
    let bytes: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    format!("ocid1.{kind}.oc1.{region_key}.{}", letters(&bytes))
}

/// Base 32 as OCI writes it, after its usual four letters.
fn letters(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut out = String::from("amaa");
    let (mut bits, mut count) = (0u32, 0);
    for byte in bytes {
        bits = (bits << 8 | u32::from(*byte)) & 0xffff;
        count += 8;
        while count >= 5 {
            count -= 5;
            out.push(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
    }
    out
}

/// Random hexadecimal digits, for ETags, request ids and the like.
pub(crate) fn hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", fastrand::u8(..))).collect()
}

/// A random version-4-like UUID, as OCI's ETags look.
pub(crate) fn uuid() -> String {
    let digits = hex(16);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
