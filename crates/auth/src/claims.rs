//! What a token says about its bearer: identity, grants, and what the participant starts with
//! (livekit.md §1.3). Field names are LiveKit's; unknown fields are ignored.

use std::collections::BTreeMap;

use livekit_protocol as proto;
use proto::participant_info::{Kind, KindDetail};
use serde::{Deserialize, Serialize};

/// The part of a token's payload that is LiveKit's, without the registered JWT claims.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claims {
    /// Who the bearer is in a room. On the wire it is the registered claim `sub` (or `jti`).
    #[serde(skip)]
    pub identity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Lower-case name of [`Kind`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kind_details: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip: Option<SipGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentGrant>,
    /// Options of the room, used when this join creates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_config: Option<Box<proto::RoomConfiguration>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub room_preset: String,
    /// Hash of a webhook's body.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Claims {
    /// The participant's kind; an unknown name is STANDARD.
    pub fn participant_kind(&self) -> Kind {
        Kind::from_str_name(&self.kind.to_ascii_uppercase()).unwrap_or_default()
    }

    /// Details of the kind; unknown names are left out.
    pub fn participant_kind_details(&self) -> Vec<KindDetail> {
        let known = |name: &String| KindDetail::from_str_name(&name.to_ascii_uppercase());
        self.kind_details.iter().filter_map(known).collect()
    }

    /// The room that the bearer may join, if any. The name may be empty: the caller decides what that means.
    pub fn joinable_room(&self) -> Option<&str> {
        self.video.as_ref().filter(|video| video.room_join).map(|video| video.room.as_str())
    }

    pub fn may_create_rooms(&self) -> bool {
        self.video.as_ref().is_some_and(|video| video.room_create)
    }

    pub fn may_list_rooms(&self) -> bool {
        self.video.as_ref().is_some_and(|video| video.room_list)
    }

    /// Administration is granted for one room by name.
    pub fn may_administer(&self, room: &str) -> bool {
        self.video.as_ref().is_some_and(|video| video.room_admin && video.room == room)
    }

    /// Forwarding and moving need the token to name both rooms.
    pub fn may_move(&self, from: &str, to: &str) -> bool {
        self.may_administer(from) && self.video.as_ref().is_some_and(|video| video.destination_room == to)
    }
}

/// Rights over rooms. Absent flags have defaults that the accessors know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VideoGrant {
    #[serde(skip_serializing_if = "is_false")]
    pub room_create: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub room_list: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub room_record: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub room_admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub room_join: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub room: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish_data: Option<bool>,
    /// Lower-case names of track sources. Empty: every source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub can_publish_sources: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_update_own_metadata: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    pub ingress_admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub recorder: bool,
    /// The bearer may register as an agent worker. Not the participant kind `agent`.
    #[serde(skip_serializing_if = "is_false")]
    pub agent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe_metrics: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_manage_agent_session: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination_room: String,
}

impl VideoGrant {
    pub fn can_publish(&self) -> bool {
        self.can_publish.unwrap_or(true)
    }

    pub fn can_subscribe(&self) -> bool {
        self.can_subscribe.unwrap_or(true)
    }

    /// Whoever may publish media may publish data, unless told otherwise.
    pub fn can_publish_data(&self) -> bool {
        self.can_publish_data.unwrap_or_else(|| self.can_publish())
    }

    pub fn can_update_own_metadata(&self) -> bool {
        self.can_update_own_metadata.unwrap_or(false)
    }

    /// The grant as the engine and the protocol see it.
    pub fn to_permission(&self) -> proto::ParticipantPermission {
        #[allow(deprecated)] // `recorder` and `agent` are still what older clients read
        proto::ParticipantPermission {
            can_subscribe: self.can_subscribe(),
            can_publish: self.can_publish(),
            can_publish_data: self.can_publish_data(),
            can_publish_sources: self.can_publish_sources.iter().map(|name| source_number(name)).collect(),
            hidden: self.hidden,
            recorder: self.recorder,
            can_update_metadata: self.can_update_own_metadata(),
            agent: self.agent,
            can_subscribe_metrics: self.can_subscribe_metrics.unwrap_or(false),
            can_manage_agent_session: self.can_manage_agent_session.unwrap_or(false),
        }
    }

    /// Takes over what an administrator changed on the live participant.
    pub fn set_permission(&mut self, permission: &proto::ParticipantPermission) {
        self.can_subscribe = Some(permission.can_subscribe);
        self.can_publish = Some(permission.can_publish);
        self.can_publish_data = Some(permission.can_publish_data);
        self.can_publish_sources = permission.can_publish_sources().map(source_name).collect();
        self.hidden = permission.hidden;
        self.can_update_own_metadata = Some(permission.can_update_metadata);
        #[allow(deprecated)] // see `to_permission`
        {
            self.recorder = permission.recorder;
            self.agent = permission.agent;
        }
        self.can_subscribe_metrics = Some(permission.can_subscribe_metrics);
        self.can_manage_agent_session = Some(permission.can_manage_agent_session);
    }
}

/// Rights over telephony.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SipGrant {
    #[serde(skip_serializing_if = "is_false")]
    pub admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub call: bool,
}

/// Rights over agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentGrant {
    #[serde(skip_serializing_if = "is_false")]
    pub admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub simulation_admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub database_admin: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn source_number(name: &str) -> i32 {
    proto::TrackSource::from_str_name(&name.to_ascii_uppercase()).unwrap_or_default().into()
}

fn source_name(source: proto::TrackSource) -> String {
    source.as_str_name().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(json: &str) -> VideoGrant {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absent_flags_allow_publishing_and_subscribing_but_not_renaming() {
        let permission = grant("{}").to_permission();
        assert!(permission.can_publish && permission.can_subscribe && permission.can_publish_data);
        assert!(!permission.can_update_metadata && !permission.hidden);
        assert!(permission.can_publish_sources.is_empty());
    }

    #[test]
    fn data_follows_media_unless_said_otherwise() {
        assert!(!grant(r#"{"canPublish":false}"#).can_publish_data());
        assert!(grant(r#"{"canPublish":false,"canPublishData":true}"#).can_publish_data());
        assert!(!grant(r#"{"canPublishData":false}"#).can_publish_data());
    }

    #[test]
    fn sources_are_lower_case_names() {
        let permission = grant(r#"{"canPublishSources":["camera","screen_share_audio"]}"#).to_permission();
        let sources: Vec<_> = permission.can_publish_sources().collect();
        assert_eq!(sources, [proto::TrackSource::Camera, proto::TrackSource::ScreenShareAudio]);
    }

    #[test]
    fn a_permission_survives_the_way_into_a_token_and_back() {
        let mut grant = grant(r#"{"roomJoin":true,"room":"r"}"#);
        let mut permission = grant.to_permission();
        permission.can_publish = false;
        permission.can_publish_data = true;
        permission.hidden = true;
        permission.can_publish_sources = vec![proto::TrackSource::Microphone.into()];
        grant.set_permission(&permission);
        let json = serde_json::to_string(&grant).unwrap();
        assert_eq!(self::grant(&json).to_permission(), permission);
        assert!(json.contains(r#""canPublishSources":["microphone"]"#), "{json}");
    }

    #[test]
    fn administration_is_for_the_named_room_only() {
        let claims = Claims {
            video: Some(grant(r#"{"roomAdmin":true,"room":"a","destinationRoom":"b"}"#)),
            ..Claims::default()
        };
        assert!(claims.may_administer("a") && !claims.may_administer("b"));
        assert!(claims.may_move("a", "b") && !claims.may_move("a", "c") && !claims.may_move("b", "a"));
        assert!(!claims.may_create_rooms() && claims.joinable_room().is_none());
    }

    #[test]
    fn kinds_are_lower_case_names_and_unknown_ones_are_standard() {
        let kind = |name: &str| Claims { kind: name.into(), ..Claims::default() }.participant_kind();
        assert_eq!(kind("agent"), Kind::Agent);
        assert_eq!(kind(""), Kind::Standard);
        assert_eq!(kind("robot"), Kind::Standard);
    }
}
