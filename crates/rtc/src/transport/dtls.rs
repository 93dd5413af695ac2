//! DTLS-SRTP: the handshake that authenticates a peer by the fingerprint in its SDP and yields the SRTP
//! keys, then carries SCTP. A thin layer over `dimpl` that owns its buffers and its error doctrine.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest;
use dimpl::{Dtls, DtlsCertificate, Output};
use serde::{Deserialize, Serialize};

use crate::srtp::{KeyingMaterial, SrtpProfile};

/// Room for one decrypted record or one outgoing flight's datagram: DTLS records never exceed 2^14 bytes
/// of plaintext (RFC 6347 §4.1).
const RECORD_BUFFER: usize = 17 * 1024;

/// SHA-256 of a certificate in DER form, as in `a=fingerprint:sha-256`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a DER certificate.
    pub fn of(certificate_der: &[u8]) -> Fingerprint {
        let hash = digest::digest(&digest::SHA256, certificate_der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Fingerprint(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Why a process cannot do DTLS at all.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("making the DTLS certificate failed: {0}; check that the system's random source works")]
    Certificate(String),
    #[error("the DTLS library refused its configuration: {0}")]
    Config(String),
}

/// The certificate and the handshake settings that all peers of a process share. Making one costs a
/// millisecond and reads the system's clock and random source, so it is made once, at the edge.
pub struct DtlsIdentity {
    config: Arc<dimpl::Config>,
    certificate: DtlsCertificate,
    fingerprint: Fingerprint,
}

impl DtlsIdentity {
    /// A fresh self-signed ECDSA certificate.
    pub fn generate() -> Result<Arc<DtlsIdentity>, IdentityError> {
        Self::with(dimpl::Config::builder())
    }

    /// For simulations only: timers and nonces follow from the seed, so that a run can be repeated.
    #[doc(hidden)]
    pub fn generate_predictable(seed: u64) -> Result<Arc<DtlsIdentity>, IdentityError> {
        // Signatures vary in length by chance: no flight may need one datagram more for that.
        Self::with(dimpl::Config::builder().dangerously_set_rng_seed(seed).mtu(1_350))
    }

    fn with(config: dimpl::ConfigBuilder) -> Result<Arc<DtlsIdentity>, IdentityError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let config = config
            // ICE has proven the address before a DTLS packet is looked at, so a cookie round trip buys nothing.
            .use_server_cookie(false)
            .build()
            .map_err(|error| IdentityError::Config(error.to_string()))?;
        let fingerprint = Fingerprint::of(&certificate.certificate);
        Ok(Arc::new(DtlsIdentity { config: Arc::new(config), certificate, fingerprint }))
    }

    /// What the SDP says of us.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl fmt::Debug for DtlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DtlsIdentity({})", self.fingerprint)
    }
}

/// What a handshake step produced.
pub(crate) enum DtlsEvent<'a> {
    /// A datagram for the wire.
    Transmit(&'a [u8]),
    /// The peer is who its SDP said, and these are the SRTP keys.
    Keys(Box<KeyingMaterial>),
    /// The association is up: SCTP may start.
    Connected,
    /// Decrypted SCTP.
    Data(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DtlsState {
    Handshaking,
    Connected,
    /// The peer showed another certificate than its SDP promised, or the handshake broke.
    Failed,
}

pub(crate) struct DtlsSession {
    dtls: Dtls,
    state: DtlsState,
    expected: Fingerprint,
    verified: bool,
    timeout: Option<Instant>,
    buffer: Box<[u8]>,
}

impl DtlsSession {
    /// As server (`a=setup:passive`) unless `active`. DTLS 1.2 on purpose: there the server chooses the
    /// SRTP profile, and AES-GCM costs a fifth of what browsers would choose.
    pub(crate) fn new(
        identity: &DtlsIdentity,
        active: bool,
        expected: Fingerprint,
        now: Instant,
    ) -> DtlsSession {
        let mut dtls = Dtls::new_12(identity.config.clone(), identity.certificate.clone(), now);
        dtls.set_active(active);
        DtlsSession {
            dtls,
            state: DtlsState::Handshaking,
            expected,
            verified: false,
            timeout: Some(now),
            buffer: vec![0; RECORD_BUFFER].into_boxed_slice(),
        }
    }

    pub(crate) fn state(&self) -> DtlsState {
        self.state
    }

    pub(crate) fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        if self.state == DtlsState::Failed {
            return;
        }
        let result = self.dtls.handle_timeout(now).and_then(|()| self.dtls.handle_packet(packet));
        // A single undecodable datagram is not the end: anyone on the path can inject one.
        if let Err(error) = result {
            tracing::debug!(%error, "DTLS packet refused");
        }
        self.timeout = Some(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.state == DtlsState::Failed || self.timeout.is_none_or(|at| at > now) {
            return;
        }
        if let Err(error) = self.dtls.handle_timeout(now) {
            tracing::debug!(%error, "DTLS handshake failed");
            self.fail();
        }
    }

    /// Queues one SCTP packet.
    pub(crate) fn send(&mut self, data: &[u8]) {
        if self.state == DtlsState::Connected
            && let Err(error) = self.dtls.send_application_data(data)
        {
            tracing::debug!(%error, "DTLS could not take application data");
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Hands every pending output to `sink`. To be called after each input.
    pub(crate) fn drain(&mut self, mut sink: impl FnMut(DtlsEvent<'_>)) {
        if self.state == DtlsState::Failed {
            return;
        }
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(packet) => sink(DtlsEvent::Transmit(packet)),
                Output::PeerCert(der) => {
                    self.verified = Fingerprint::of(der) == self.expected;
                    if !self.verified {
                        tracing::warn!("peer's certificate does not match the fingerprint of its SDP");
                        return self.fail();
                    }
                }
                Output::KeyingMaterial(material, profile) => {
                    if !self.verified {
                        return self.fail();
                    }
                    let keys = SrtpProfile::try_from(profile)
                        .and_then(|profile| KeyingMaterial::split(profile, &material));
                    match keys {
                        Ok(keys) => sink(DtlsEvent::Keys(Box::new(keys))),
                        Err(error) => {
                            tracing::warn!(%error, "no usable SRTP keys");
                            return self.fail();
                        }
                    }
                }
                Output::Connected => {
                    if !self.verified {
                        return self.fail();
                    }
                    self.state = DtlsState::Connected;
                    sink(DtlsEvent::Connected);
                }
                Output::ApplicationData(data) if self.verified => sink(DtlsEvent::Data(data)),
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return;
                }
                Output::BufferTooSmall { needed } => {
                    if needed > 4 * RECORD_BUFFER {
                        return self.fail();
                    }
                    self.buffer = vec![0; needed].into_boxed_slice();
                }
                // ICE alone decides when a connection ends (livekit.md §2.7); the rest is not for us.
                _ => {}
            }
        }
    }

    fn fail(&mut self) {
        self.state = DtlsState::Failed;
        self.timeout = None;
    }
}
