//! What the client says and hears over its signalling connection, and how it gets over the loss of one.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use rtc::MediaKind;

use super::Client;

/// Requests wait for so long after the connection is back (livekit.md §2.12).
const SETTLING: Duration = Duration::from_secs(2);

impl Client {
    /// What the join request carries: over a single connection the first offer.
    pub fn first_offer(&mut self, now: Instant) -> Option<proto::SessionDescription> {
        self.single.then(|| self.make_offer(now))
    }

    fn make_offer(&mut self, now: Instant) -> proto::SessionDescription {
        self.offer_outstanding = true;
        self.offer_id += 1;
        let sdp = self.publisher.peer.create_offer(now);
        proto::SessionDescription { r#type: "offer".into(), sdp, id: self.offer_id, ..Default::default() }
    }

    /// Asks now, or when there is a connection again.
    pub(super) fn ask(&mut self, message: Ask) {
        if self.online && self.settles.is_none() { self.say(message) } else { self.later.push(message) }
    }

    /// Says something whatever the state of the connection.
    pub(super) fn say(&mut self, message: Ask) {
        self.asks.push_back(proto::SignalRequest { message: Some(message) });
    }

    pub(super) fn negotiate(&mut self, now: Instant) {
        if !self.online {
            // The offer that comes with the next connection has everything.
            return;
        }
        if self.offer_outstanding {
            self.offer_again = true;
            return;
        }
        let offer = self.make_offer(now);
        self.say(Ask::Offer(offer));
    }

    /// Whether an SDK connects again and goes on when it loses its socket now: it was told to, or the socket broke
    /// without a word (`abrupt`).
    pub fn resumes(&self, abrupt: bool) -> bool {
        self.leave.map_or(abrupt, |action| action == proto::leave_request::Action::Resume as i32)
    }

    /// The signalling connection is gone, and with it what was on its way.
    pub fn lost_socket(&mut self) {
        self.online = false;
        self.settles = None;
        self.leave = None;
        self.offer_outstanding = false;
        self.offer_again = false;
        self.asks.clear();
    }

    /// The server goes on with us: it is told what we have, and ICE looks for a way to it.
    fn resumed(&mut self, now: Instant, response: &proto::ReconnectResponse) {
        self.online = true;
        self.settles = Some(now + SETTLING);
        let tracks = self.published.iter().filter_map(|published| {
            let track = proto::TrackInfo { sid: published.sid.clone()?, ..Default::default() };
            Some(proto::TrackPublishedResponse { cid: published.cid.clone(), track: Some(track) })
        });
        let publish_tracks = tracks.collect();
        let datachannel_receive_states = self.data.receive_states();
        let channels = self.publisher.peer.channels();
        let data_channels = channels.map(|(id, config)| proto::DataChannelInfo {
            label: config.label.clone(),
            id: u32::from(id.0),
            target: proto::SignalTarget::Publisher as i32,
        });
        let data_channels = data_channels.collect();
        self.say(Ask::SyncState(proto::SyncState {
            publish_tracks,
            data_channels,
            datachannel_receive_states,
            ..Default::default()
        }));
        self.data.resumed(response.last_message_seq);
        self.publisher.peer.restart_ice();
        self.negotiate(now);
    }

    /// The connection has been back for a while: what waited is said.
    pub(super) fn settled(&mut self) {
        self.settles = None;
        if let Some(policy) = self.policy.clone() {
            self.say(Ask::SubscriptionPermission(policy));
        }
        for ask in std::mem::take(&mut self.later) {
            self.say(ask);
        }
    }

    /// A message of the server.
    pub fn told(&mut self, now: Instant, message: Told) {
        match message {
            Told::Join(join) => {
                self.sid = join.participant.map(|own| own.sid);
                for other in join.other_participants {
                    self.participants.insert(other.identity.clone(), other);
                }
            }
            Told::Leave(leave) => {
                self.leave = Some(leave.action);
            }
            Told::Reconnect(response) => self.resumed(now, &response),
            Told::Answer(answer) => {
                if answer.id != self.offer_id {
                    return;
                }
                if let Err(error) = self.publisher.peer.accept_answer(now, &answer.sdp) {
                    self.violations.push(format!("answer not understood: {error}"));
                }
                self.offer_outstanding = false;
                self.data.negotiated();
                if std::mem::take(&mut self.offer_again) {
                    self.negotiate(now);
                }
            }
            Told::Offer(offer) => {
                let Some(subscriber) = &mut self.subscriber else {
                    return self.violations.push("offer over a single connection".into());
                };
                if let Err(error) = subscriber.peer.accept_offer(now, &offer.sdp) {
                    return self.violations.push(format!("offer not understood: {error}"));
                }
                let sdp = subscriber.peer.create_answer(now);
                let answer = proto::SessionDescription {
                    r#type: "answer".into(),
                    sdp,
                    id: offer.id,
                    ..Default::default()
                };
                self.say(Ask::Answer(answer));
            }
            Told::TrackPublished(published) => {
                let sid = published.track.map(|track| track.sid);
                let Some(ours) = self.published.iter_mut().find(|ours| ours.cid == published.cid) else {
                    return;
                };
                ours.sid = sid;
            }
            Told::MediaSectionsRequirement(requirement) => {
                for _ in 0..requirement.num_audios {
                    self.publisher.peer.offer_receiver(MediaKind::Audio);
                }
                for _ in 0..requirement.num_videos {
                    self.publisher.peer.offer_receiver(MediaKind::Video);
                }
                self.negotiate(now);
            }
            Told::SubscribedQualityUpdate(update) => self.wanted_layers(&update),
            Told::Update(update) => {
                for info in update.participants {
                    self.participant(info);
                }
            }
            _ => {}
        }
    }

    fn participant(&mut self, info: proto::ParticipantInfo) {
        if info.identity == self.identity {
            return self.compare_mutes(&info);
        }
        let old = self.participants.get(&info.identity);
        if old.is_some_and(|old| old.sid == info.sid && old.version > info.version) {
            self.violations.push(format!("{} went back in version", info.identity));
        }
        if info.state == proto::participant_info::State::Disconnected as i32 {
            self.participants.remove(&info.identity);
        } else {
            self.participants.insert(info.identity.clone(), info);
        }
    }

    /// Where the server has a track of ours muted and we have not, or the other way round, we say so: a request may
    /// have been lost with a connection.
    fn compare_mutes(&mut self, own: &proto::ParticipantInfo) {
        let mut asks = Vec::new();
        for published in &self.published {
            let known = own.tracks.iter().find(|track| published.sid.as_ref() == Some(&track.sid));
            if let Some(known) = known.filter(|known| known.muted != published.muted) {
                let (sid, muted) = (known.sid.clone(), published.muted);
                asks.push(Ask::Mute(proto::MuteTrackRequest { sid, muted }));
            }
        }
        asks.into_iter().for_each(|ask| self.ask(ask));
    }

    /// Dynacast: only layers that somebody watches are sent.
    fn wanted_layers(&mut self, update: &proto::SubscribedQualityUpdate) {
        let Some(ours) =
            self.published.iter_mut().find(|ours| ours.sid.as_deref() == Some(update.track_sid.as_str()))
        else {
            return;
        };
        let Some(codec) = update.subscribed_codecs.first() else { return };
        let single = ours.encodings.len() == 1;
        for (layer, encoding) in ours.encodings.iter_mut().enumerate() {
            let quality = if single { proto::VideoQuality::High as i32 } else { layer as i32 };
            let wanted = codec.qualities.iter().find(|wanted| wanted.quality == quality);
            encoding.set_active(wanted.is_none_or(|wanted| wanted.enabled));
        }
    }
}
