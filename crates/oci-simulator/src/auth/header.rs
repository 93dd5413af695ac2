//! The `Authorization: Signature …` header, taken apart.

use std::collections::BTreeMap;

/// Its parameters.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) key_id: &'a str,
    pub(crate) algorithm: &'a str,
    /// Lower case, in the order signed.
    pub(crate) headers: Vec<String>,
    pub(crate) signature: &'a str,
}

/// None if it is no such header, or lacks a parameter.
pub(crate) fn parse(value: &str) -> Option<Header<'_>> {
    let rest = value.trim().strip_prefix("Signature ")?;
    let mut parameters = BTreeMap::new();
    let mut rest = rest.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (text, after) = after.strip_prefix('"')?.split_once('"')?;
        if parameters.insert(name.trim(), text).is_some() {
            return None;
        }
        rest = after.trim_start().strip_prefix(',').unwrap_or(after.trim_start()).trim_start();
    }
    let mut get = |name: &str| parameters.remove(name);
    let headers = get("headers")?.split(' ').map(str::to_ascii_lowercase).collect();
    if get("version").is_some_and(|version| version != "1") {
        return None;
    }
    Some(Header {
        key_id: get("keyId")?,
        algorithm: get("algorithm")?,
        headers,
        signature: get("signature")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_any_order() {
        let text = r#"Signature version="1",keyId="a/b/c", headers="Date (request-target)",algorithm="rsa-sha256",signature="QQ==""#;
        let header = parse(text).unwrap();
        assert_eq!(header.key_id, "a/b/c");
        assert_eq!(header.headers, ["date", "(request-target)"]);
        for bad in ["", "Basic QQ==", "Signature", "Signature keyId=a", r#"Signature keyId="a",keyId="b""#] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
