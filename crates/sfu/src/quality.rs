//! Connection quality as shown to people: one word from loss, delay and jitter (livekit.md §5.6).

use livekit_protocol::ConnectionQuality;

use crate::participant::Participant;

/// The quality of a participant's connections as protocol value and score (1.0..=5.0).
pub(crate) fn score(participant: &Participant) -> (i32, f32) {
    let peer = &participant.publisher.peer;
    if participant.publisher.lost_since.is_some() || !peer.is_ice_connected() {
        return (ConnectionQuality::Lost as i32, 1.0);
    }
    let rtt_ms = participant.rtt_ms().unwrap_or(0.0);
    let loss = participant.loss();
    // A rough E-model: delay costs little until 150 ms one way, each percent of loss costs 2.5 points.
    let delay_ms = rtt_ms / 2.0 + 20.0;
    let delay_cost = delay_ms / 40.0 + if delay_ms > 150.0 { (delay_ms - 150.0) / 10.0 } else { 0.0 };
    let points = (100.0 - delay_cost - 250.0 * loss).clamp(0.0, 100.0);
    let quality = match points {
        p if p >= 80.0 => ConnectionQuality::Excellent,
        p if p >= 40.0 => ConnectionQuality::Good,
        p if p >= 20.0 => ConnectionQuality::Poor,
        _ => ConnectionQuality::Lost,
    };
    // Steps of a tenth: finer changes are not worth telling.
    (quality as i32, ((1.0 + points * 0.035) * 10.0).round() / 10.0)
}
