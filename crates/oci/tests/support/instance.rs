//! An instance's surroundings on loopback: its metadata, the federation endpoint, and a service that lets sessions in.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oci::Imds;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use serde_json::json;

use super::signature::verified;
use super::{KEY, Reply, Seen, Service};

pub(crate) const TENANCY: &str = "ocid1.tenancy.oc1..t";

/// A certificate of the instance with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) der: Vec<u8>,
    pub(crate) key: String,
    public: Vec<u8>,
}

/// What the surroundings do; a test changes it while calls go on.
pub(crate) struct World {
    pub(crate) identity: Identity,
    /// Given once in the place of the identity's key.
    pub(crate) key_once: Option<String>,
    /// Times that the identity is not there yet.
    pub(crate) absent: u32,
    /// Seconds from now at which a token begins and ends.
    pub(crate) token: (i64, i64),
    /// What the federation endpoint answers in the place of a token.
    pub(crate) refuse: Option<Reply>,
    /// Public keys of sessions by token; a revoked one is gone.
    sessions: Vec<(String, Vec<u8>)>,
    pub(crate) federations: u32,
    pub(crate) metadata: serde_json::Value,
}

pub(crate) struct Surroundings {
    pub(crate) service: Service,
    pub(crate) world: Arc<Mutex<World>>,
}

impl Identity {
    /// The golden key's.
    pub(crate) fn first() -> Identity {
        Identity::of(KeyPair::from_pem(std::str::from_utf8(KEY).unwrap()).unwrap())
    }

    pub(crate) fn another() -> Identity {
        Identity::of(KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap())
    }

    fn of(key: KeyPair) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ocid1.instance.oc1..i");
        params.distinguished_name.push(DnType::OrganizationName, format!("opc-tenant:{TENANCY}"));
        let certificate = params.self_signed(&key).unwrap();
        Identity {
            certificate: certificate.pem(),
            der: certificate.der().to_vec(),
            key: key.serialize_pem(),
            public: key.subject_public_key_info(),
        }
    }
}

impl World {
    pub(crate) fn revoke_sessions(&mut self) {
        self.sessions.clear();
    }

    fn reply(&mut self, seen: &Seen) -> Reply {
        match seen.path.strip_prefix("/opc/v2/") {
            Some(_) if seen.header("authorization") != Some("Bearer Oracle") => Reply::status(401),
            Some(part) => self.told(part),
            None if seen.path == "/v1/x509" => self.federate(seen),
            None => self.serve(seen),
        }
    }

    fn told(&mut self, part: &str) -> Reply {
        match part {
            "instance/regionInfo" => Reply::json(&json!({
                "realmDomainComponent": "oraclecloud.com", "realmKey": "oc1", "regionIdentifier": "eu-frankfurt-1",
                "regionKey": "FRA",
            })),
            _ if part.starts_with("identity/") && self.absent > 0 => {
                self.absent -= 1;
                Reply::status(404)
            }
            "identity/cert.pem" | "identity/intermediate.pem" => {
                Reply::text(self.identity.certificate.clone())
            }
            "identity/key.pem" => {
                Reply::text(self.key_once.take().unwrap_or_else(|| self.identity.key.clone()))
            }
            _ => match self.metadata.pointer(&format!("/{}", part.trim_end_matches('/'))) {
                Some(value) => Reply::json(value),
                None => Reply::status(404),
            },
        }
    }

    fn federate(&mut self, seen: &Seen) -> Reply {
        self.federations += 1;
        if let Some(refusal) = &self.refuse {
            return refusal.clone();
        }
        let Some((key_id, headers)) = verified(seen, &self.identity.public) else {
            return Reply::error(401, "NotAuthenticated");
        };
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.identity.der);
        let fingerprint: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(key_id, format!("{TENANCY}/fed-x509-sha256/{}", fingerprint.join(":")));
        assert_eq!(headers, "date (request-target) content-length content-type x-content-sha256");
        let request = seen.json();
        assert_eq!(request["certificate"], STANDARD.encode(&self.identity.der));
        assert_eq!(request["intermediateCertificates"][0], STANDARD.encode(&self.identity.der));
        assert_eq!(request["fingerprintAlgorithm"], "SHA256");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let payload =
            json!({ "iat": now + self.token.0, "exp": now + self.token.1, "jti": self.federations });
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload.to_string()));
        let public = STANDARD.decode(request["publicKey"].as_str().unwrap()).unwrap();
        self.sessions.push((token.clone(), public));
        Reply::json(&json!({ "token": token }))
    }

    /// Any other request is let in if it is of a session.
    fn serve(&self, seen: &Seen) -> Reply {
        let of_session = |(token, key): &&(String, Vec<u8>)| {
            verified(seen, key).is_some_and(|(key_id, _)| key_id == format!("ST${token}"))
        };
        match self.sessions.iter().find(of_session) {
            Some(_) => Reply::json(&json!("ns")),
            None => Reply::error(401, "NotAuthenticated"),
        }
    }
}

impl Surroundings {
    pub(crate) async fn new() -> Surroundings {
        let world = Arc::new(Mutex::new(World {
            identity: Identity::first(),
            key_once: None,
            absent: 0,
            token: (0, 1200),
            refuse: None,
            sessions: Vec::new(),
            federations: 0,
            metadata: json!({}),
        }));
        let theirs = world.clone();
        let service = Service::new(move |seen| theirs.lock().unwrap().reply(seen)).await;
        Surroundings { service, world }
    }

    pub(crate) fn imds(&self) -> Imds {
        Imds::at(&format!("{}/opc/v2/", self.service.url).parse().unwrap())
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
    }

    pub(crate) fn federations(&self) -> u32 {
        self.world.lock().unwrap().federations
    }
}
