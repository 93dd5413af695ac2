//! Our signatures are, byte for byte, those of Oracle's own Python SDK (`golden/make.py`).

use std::sync::Arc;

use http::{Method, Uri};
use oci::signing::{Signer, ToSign, key_from_pem};

#[test]
fn signature_differs_from_oracles_sdk() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/signatures.json")).unwrap();
    let key = key_from_pem(include_bytes!("golden/test-key.pem")).unwrap();
    let signer = Signer::new(golden["key_id"].as_str().unwrap(), Arc::new(key));
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 7);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap_or_default();
        let uri: Uri = text("url").parse().unwrap();
        let method: Method = text("method").parse().unwrap();
        let signed = signer
            .sign(&ToSign {
                method: &method,
                target: uri.path_and_query().unwrap().as_str(),
                host: Some(uri.authority().unwrap().as_str()),
                date: golden["date"].as_str().unwrap(),
                content_type: text("content_type"),
                body: text("body").as_bytes(),
            })
            .unwrap();
        assert_eq!(signed.authorization, text("authorization"), "{}", text("name"));
        assert_eq!(signed.content_sha256.as_deref(), case["sha256"].as_str(), "{}", text("name"));
    }
}

#[test]
fn a_session_is_asked_for_as_oracles_sdk_does() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/signatures.json")).unwrap();
    let federation = |name: &str| golden["federation"][name].as_str().unwrap();
    let key = key_from_pem(include_bytes!("golden/test-key.pem")).unwrap();
    let signed = Signer::new(federation("key_id"), Arc::new(key))
        .sign(&ToSign {
            method: &Method::POST,
            target: "/v1/x509",
            host: None,
            date: golden["date"].as_str().unwrap(),
            content_type: "application/json",
            body: federation("body").as_bytes(),
        })
        .unwrap();
    assert_eq!(signed.authorization, federation("authorization"));
    assert_eq!(signed.content_sha256.as_deref(), Some(federation("sha256")));
}

#[test]
fn public_key_or_garbage_given_as_private_key() {
    assert!(key_from_pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err());
    assert!(key_from_pem(b"nonsense").is_err());
}
