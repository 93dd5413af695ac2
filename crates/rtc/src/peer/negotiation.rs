//! How a peer's offers and answers become media: the bridge from the [`Negotiator`] to the streams.

use std::collections::HashMap;
use std::time::Instant;

use is::{Candidate, IceCreds, Protocol};

use super::receive::{Format, ReceiveSection, Role};
use super::{Peer, PeerEvent, PeerRole, SenderInfo, SenderKey, new_credentials};
use crate::negotiate::{Local, Outgoing, ReceivePrefs, SdpError, Section, SectionKind, Setup};
use crate::transport::{DataChannels, DtlsSession, Fingerprint};
use crate::{Codec, MediaKind, Mid, Proto, Rid, Ssrc};

impl Peer {
    /// Takes the client's offer; inspect [`Self::sections`], bind and prefer, then [`Self::create_answer`].
    pub fn accept_offer(&mut self, now: Instant, sdp: &str) -> Result<(), SdpError> {
        let restarted = self.negotiator.accept_offer(sdp)?;
        self.take_remote(now, restarted);
        Ok(())
    }

    /// The answer to the last offer; it also settles the streams.
    pub fn create_answer(&mut self, now: Instant) -> String {
        let local = self.local();
        self.show_certificate();
        let sdp = self.negotiator.create_answer(&local, !self.dtls_active);
        self.settle(now);
        sdp
    }

    /// Our offer with all senders and sections of the moment.
    pub fn create_offer(&mut self, _now: Instant) -> String {
        let local = self.local();
        self.show_certificate();
        self.negotiator.create_offer(&local)
    }

    /// Takes the answer to our offer; it settles the streams.
    pub fn accept_answer(&mut self, now: Instant, sdp: &str) -> Result<(), SdpError> {
        let restarted = self.negotiator.accept_answer(sdp)?;
        self.take_remote(now, restarted);
        self.settle(now);
        Ok(())
    }

    /// All media sections.
    pub fn sections(&self) -> &[Section] {
        self.negotiator.sections()
    }

    /// A media section.
    pub fn section(&self, mid: Mid) -> Option<&Section> {
        self.negotiator.section(mid)
    }

    /// Whether the other side has described itself at least once.
    pub fn has_negotiated(&self) -> bool {
        self.negotiator.remote().is_some()
    }

    /// Whether the client can decode a codec; assumed until it has described itself.
    pub fn can_receive(&self, codec: Codec) -> bool {
        self.negotiator.can_receive(codec).unwrap_or(true)
    }

    /// Says how the client is to send on a section.
    pub fn set_receive(&mut self, mid: Mid, prefs: ReceivePrefs) {
        self.negotiator.set_receive(mid, prefs);
    }

    /// Sections on which the client waits for a stream of ours.
    pub fn free_sections(&self, kind: MediaKind) -> impl Iterator<Item = Mid> + '_ {
        self.sections().iter().filter(move |section| section.is_free(kind)).map(|section| section.mid)
    }

    /// Sections of a kind on which the client receives, free or not.
    pub fn receiving_sections(&self, kind: MediaKind) -> usize {
        let receiving = |section: &&Section| section.media_kind() == Some(kind) && section.remote_receives();
        self.sections().iter().filter(receiving).count()
    }

    /// An application section in our offers.
    pub fn offer_data_channels(&mut self) {
        if !self.sections().iter().any(|section| section.kind == SectionKind::Application) {
            self.negotiator.add_section(SectionKind::Application);
        }
    }

    /// A section on which we receive, in our offers.
    pub fn offer_receiver(&mut self, kind: MediaKind) -> Mid {
        let mid = self.negotiator.add_section(SectionKind::Media(kind));
        self.negotiator.set_receive(mid, ReceivePrefs::default());
        mid
    }

    /// Adds a stream of ours: on the section `mid`, or on one of our own making. It flows once the
    /// negotiation that follows has settled it.
    pub fn add_sender(&mut self, mid: Option<Mid>, kind: MediaKind, outgoing: Outgoing) -> (SenderKey, Mid) {
        let mid = mid.unwrap_or_else(|| self.negotiator.add_section(SectionKind::Media(kind)));
        let info = SenderInfo {
            mid,
            ssrc: outgoing.ssrc,
            rtx_ssrc: outgoing.rtx_ssrc,
            cname: outgoing.cname.clone(),
            codec: outgoing.codec,
            rid: None,
        };
        self.negotiator.set_outgoing(mid, Some(outgoing));
        let rtx_seq = self.rng.u16(..0x8000);
        (self.senders.add(info, rtx_seq), mid)
    }

    /// Adds an encoding to the simulcast stream on `mid`, whose [`Outgoing`] names its rids.
    pub fn add_encoding(&mut self, mid: Mid, rid: Rid, ssrc: Ssrc) -> Option<SenderKey> {
        let outgoing = self.negotiator.section(mid)?.outgoing.as_ref()?;
        let info = SenderInfo {
            mid,
            ssrc,
            rtx_ssrc: None,
            cname: outgoing.cname.clone(),
            codec: outgoing.codec,
            rid: Some(rid),
        };
        Some(self.senders.add(info, 0))
    }

    /// Takes a stream of ours away; its section becomes free.
    pub fn remove_sender(&mut self, key: SenderKey) {
        if let Some(sender) = self.senders.get(key) {
            let (mid, ssrc) = (sender.info.mid, sender.info.ssrc);
            let ours = self.negotiator.section(mid).and_then(|section| section.outgoing.as_ref());
            if ours.is_some_and(|outgoing| outgoing.ssrc == ssrc) {
                self.negotiator.set_outgoing(mid, None);
            }
            self.senders.remove(key);
        }
    }

    /// Takes whatever we send on a section off it; the next offer says so.
    pub fn clear_section(&mut self, mid: Mid) {
        self.negotiator.set_outgoing(mid, None);
    }

    /// Whether a stream of ours has been agreed on.
    pub fn is_settled(&self, key: SenderKey) -> bool {
        self.senders.get(key).is_some_and(|sender| sender.format.is_some())
    }

    /// Whether a stream of ours may carry redundant audio.
    pub fn takes_red(&self, key: SenderKey) -> bool {
        self.senders.get(key).and_then(|sender| sender.format).is_some_and(|format| format.red_pt.is_some())
    }

    /// Which section carries which track of ours.
    pub fn mid_to_track(&self) -> HashMap<String, String> {
        let bound = self.sections().iter().filter_map(|section| Some((section, section.outgoing.as_ref()?)));
        bound.map(|(section, outgoing)| (section.mid.to_string(), outgoing.track.clone())).collect()
    }

    /// New ICE credentials for the next offer (RFC 8445 §9).
    pub fn restart_ice(&mut self) {
        let credentials = new_credentials(&self.config.ufrag_prefix);
        self.ice.ice_restart(credentials, true);
        self.events.push_back(PeerEvent::UfragChanged(self.local_ufrag().to_owned()));
    }

    fn local(&self) -> Local {
        let credentials = self.ice.local_credentials();
        let candidates = if self.config.candidates_in_sdp {
            self.ice.local_candidates().map(|candidate| candidate.to_sdp_string()).collect()
        } else {
            Vec::new()
        };
        Local {
            ufrag: credentials.ufrag.clone(),
            pwd: credentials.pass.clone(),
            fingerprint: self.config.identity.fingerprint(),
            ice_lite: self.config.ice_lite,
            candidates,
            session_id: self.session_id,
        }
    }

    /// ICE and DTLS as the other side's description wants them.
    fn take_remote(&mut self, now: Instant, restarted: bool) {
        let Some(remote) = self.negotiator.remote() else { return };
        let credentials = IceCreds { ufrag: remote.ufrag.clone(), pass: remote.pwd.clone() };
        let candidates: Vec<Candidate> =
            remote.candidates.iter().filter_map(|line| Candidate::from_sdp_string(line).ok()).collect();
        let (fingerprint, setup) = (remote.fingerprint, remote.setup);
        // A restart that we asked for ourselves comes back as new credentials in the answer.
        if restarted && self.config.role == PeerRole::Answerer {
            self.restart_ice();
        }
        if self.ice.remote_credentials() != Some(&credentials) {
            self.ice.set_remote_credentials(credentials);
        }
        for candidate in candidates {
            if candidate.proto() == Protocol::Udp {
                self.ice.add_remote_candidate(candidate);
            }
        }
        match (fingerprint, self.dtls_remote) {
            (Some(fingerprint), None) => {
                // Left the choice, a client takes the active part, as browsers do.
                let chosen = setup == Some(Setup::ActPass) && self.config.controlling;
                self.dtls_active = chosen || setup == Some(Setup::Passive);
                self.start_dtls(now, fingerprint);
            }
            (Some(fingerprint), Some(known)) if fingerprint != known => self.restart_dtls(now, fingerprint),
            _ => {}
        }
        let early = self.ear.negotiated();
        early.iter().for_each(|datagram| self.handle_dtls(now, datagram));
        if self.data.is_none() && self.negotiator.has_application() && self.dtls.is_some() {
            let mut data = DataChannels::new(self.dtls_active);
            std::mem::take(&mut self.wanted_channels).into_iter().for_each(|config| data.open(config));
            self.data = Some(data);
        }
        self.due = Some(now);
    }

    pub(super) fn start_dtls(&mut self, now: Instant, remote: Fingerprint) {
        self.dtls_remote = Some(remote);
        self.hello = None;
        self.dtls = Some(DtlsSession::new(&self.config.identity, self.dtls_active, remote, now));
    }

    /// The other side has become another process: keys and association are made anew, over the way there is
    /// until ICE finds a better one. What was negotiated stays.
    fn restart_dtls(&mut self, now: Instant, remote: Fingerprint) {
        self.srtp = None;
        self.connected = false;
        self.start_dtls(now, remote);
        self.senders.rekeyed();
        if let Some(data) = &mut self.data {
            data.restart();
        }
    }

    /// Streams in both directions as the sections now say.
    pub(super) fn settle(&mut self, now: Instant) {
        let ext = *self.negotiator.ext();
        let receiving = self.negotiator.sections().iter().filter(|section| section.remote_sends());
        let sections = receiving.map(receive_section).collect();
        self.receiver.configure(ext, sections);
        self.senders.configure(&ext);
        for (_, sender) in self.senders.iter_mut() {
            let section = self.negotiator.section(sender.info.mid);
            let ours = section.filter(|section| {
                section
                    .outgoing
                    .as_ref()
                    .is_some_and(|outgoing| outgoing.ssrc == sender.info.ssrc || sender.info.rid.is_some())
            });
            sender.format = ours.and_then(Section::send_format);
        }
        self.due = Some(now);
    }

    /// Candidates of ours as `candidate:…` lines, with how they travel.
    pub fn local_candidates(&self) -> impl Iterator<Item = (Proto, String)> + '_ {
        self.ice.local_candidates().map(|candidate| {
            let proto = if candidate.proto() == Protocol::Udp { Proto::Udp } else { Proto::Tcp };
            (proto, candidate.to_sdp_string())
        })
    }
}

fn receive_section(section: &Section) -> ReceiveSection {
    let formats = section.receive_formats().into_iter().map(|(pt, format)| {
        let meaning = if pt == format.pt {
            // NACK for audio is ours to ask for, whether it was offered or not (livekit.md §2.7).
            let nack = format.has_feedback("nack") || format.codec == Codec::Opus;
            Format::Media { codec: format.codec, nack }
        } else {
            Format::Rtx { primary: format.pt }
        };
        (pt, meaning)
    });
    let mut ssrcs = Vec::new();
    if let Some(remote) = &section.remote {
        for ssrc in &remote.ssrcs {
            let media = remote.fid.iter().find(|(_, repair)| repair == ssrc).map(|(media, _)| *media);
            ssrcs.push((*ssrc, media.map_or(Role::Media, Role::RepairOf)));
        }
    }
    ReceiveSection { mid: section.mid, formats: formats.collect(), ssrcs }
}
