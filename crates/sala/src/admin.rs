//! `sala room`: the server API from the command line, as JSON over Twirp.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use auth::{Claims, VideoGrant};
use serde_json::{Value, json};

use crate::cli::{RoomCommand, ServerArgs};
use crate::token;

/// A token for one call.
const TOKEN_TTL: Duration = Duration::from_secs(60);

/// Longest that the server may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs one command and prints what the server answers.
pub(crate) fn run(command: RoomCommand) -> anyhow::Result<()> {
    match command {
        RoomCommand::Create { server, room, empty_timeout, max_participants, metadata } => {
            let request = json!({
                "name": room, "empty_timeout": empty_timeout, "max_participants": max_participants,
                "metadata": metadata,
            });
            let created = call(&server, "CreateRoom", &room, request)?;
            println!("{} ({})", text(&created, "name"), text(&created, "sid"));
        }
        RoomCommand::List { server } => {
            let answer = call(&server, "ListRooms", "", json!({}))?;
            print_rows(
                &["ROOM", "PARTICIPANTS", "PUBLISHERS", "SID"],
                list(&answer, "rooms").iter().map(|room| {
                    vec![
                        text(room, "name"),
                        text(room, "num_participants"),
                        text(room, "num_publishers"),
                        text(room, "sid"),
                    ]
                }),
            );
        }
        RoomCommand::Delete { server, room } => {
            call(&server, "DeleteRoom", &room, json!({"room": room}))?;
            println!("{room} has ended");
        }
        RoomCommand::Participants { server, room } => {
            let answer = call(&server, "ListParticipants", &room, json!({"room": room}))?;
            print_rows(
                &["IDENTITY", "NAME", "STATE", "TRACKS"],
                list(&answer, "participants").iter().map(|participant| {
                    let tracks = list(participant, "tracks").iter().map(|track| {
                        let muted = if track["muted"] == true { ", muted" } else { "" };
                        format!("{} ({}{muted})", text(track, "sid"), text(track, "source").to_lowercase())
                    });
                    let tracks = tracks.collect::<Vec<_>>().join(" ");
                    vec![
                        text(participant, "identity"),
                        text(participant, "name"),
                        text(participant, "state"),
                        tracks,
                    ]
                }),
            );
        }
        RoomCommand::Remove { server, room, identity } => {
            call(&server, "RemoveParticipant", &room, json!({"room": room, "identity": identity}))?;
            println!("{identity} has been removed from {room}");
        }
        RoomCommand::Mute { server, room, identity, track_sid, unmute } => {
            let request =
                json!({"room": room, "identity": identity, "track_sid": track_sid, "muted": !unmute});
            call(&server, "MutePublishedTrack", &room, request)?;
            println!("{track_sid} of {identity} is {}", if unmute { "unmuted" } else { "muted" });
        }
    }
    Ok(())
}

fn call(server: &ServerArgs, method: &str, room: &str, request: Value) -> anyhow::Result<Value> {
    let base = match server.url.trim_end_matches('/').split_once("://") {
        Some(("http" | "ws", rest)) => format!("http://{rest}"),
        Some(("https" | "wss", _)) => bail!(
            "{} needs TLS, which this command cannot do yet; run it beside the server with --url http://127.0.0.1:7880",
            server.url
        ),
        _ => bail!("{} is no URL; write http://HOST:PORT", server.url),
    };
    let video = VideoGrant {
        room_create: true,
        room_list: true,
        room_admin: true,
        room: room.to_owned(),
        ..VideoGrant::default()
    };
    let claims = Claims { identity: "sala-cli".into(), video: Some(video), ..Claims::default() };
    let token = token::key_store(&server.keys)?.mint(&claims, SystemTime::now(), TOKEN_TTL);

    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(CALL_TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into();
    let mut response = agent
        .post(format!("{base}/twirp/livekit.RoomService/{method}"))
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .send(request.to_string())
        .with_context(|| format!("no answer from {base}; is the server running? set --url or LIVEKIT_URL"))?;
    let body = response.body_mut().read_to_string().context("the answer broke off")?;
    if response.status().is_success() {
        return serde_json::from_str(&body)
            .context("the answer is not JSON; does the URL lead to a server API?");
    }
    let message = serde_json::from_str::<Value>(&body).ok().map(|error| text(&error, "msg"));
    let message = message.filter(|message| !message.is_empty()).unwrap_or(body);
    // LiveKit's clients know errors by this prefix; people need not.
    let message = message.trim_start_matches("twirp error unknown: ");
    match response.status().as_u16() {
        401 => bail!("{message}; check --api-key and --api-secret"),
        status => bail!("{message} (HTTP {status})"),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Prints aligned columns.
pub(crate) fn print_rows(header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = vec![header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    table.extend(rows);
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
