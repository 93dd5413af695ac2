//! The admin API, `/sim/…`: what a test does that no client of a cloud can. See the crate's documentation.

mod control;
mod instances;
mod state;
mod stores;

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Answer, Refusal, Request};
use crate::runtime::{AdminReply, Shared};

/// Answers a request.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request) -> AdminReply {
    let answered = routed(&shared, &request).await;
    shared.act();
    AdminReply::Answer(answered.unwrap_or_else(Answer::from))
}

type Answered = Result<Answer, Refusal>;

async fn routed(shared: &Arc<Shared>, request: &Request) -> Answered {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let ["sim", path @ ..] = &segments[..] else { return Err(unknown(request)) };
    match (&request.method, path) {
        (&Method::GET, ["state"]) => Ok(state::state(shared)),
        (&Method::GET, ["calls"]) => state::calls(shared, request),
        (&Method::DELETE, ["calls"]) => {
            shared.cloud().0.calls.reset();
            done()
        }
        (&Method::GET, ["functions"]) => Ok(state::functions(shared)),
        (_, ["faults", rest @ ..]) => control::faults(shared, request, rest),
        (&Method::PUT, ["time"]) => control::time(shared, request),
        (&Method::PUT, ["delays"]) => control::delays(shared, request),
        (&Method::POST, ["resources"]) => control::create(shared, request),
        (&Method::GET, ["iam"]) => Ok(control::show_iam(shared)),
        (&Method::PUT, ["iam"]) => control::replace_iam(shared, request),
        (&Method::PUT, ["pools", name]) => control::pool(shared, request, name),
        (_, ["instances", name, verb]) => instances::act(shared, request, name, verb).await,
        (_, ["objects", bucket, name @ ..]) => stores::object(shared, request, bucket, &name.join("/")),
        (_, ["secrets", rest @ ..]) => stores::secrets(shared, request, rest),
        _ => Err(unknown(request)),
    }
}

fn unknown(request: &Request) -> Refusal {
    let text = format!(
        "The admin API has no {} {}; its list is in the documentation of crates/oci-simulator/src/lib.rs.",
        request.method, request.target
    );
    Refusal::new(404, "NotFound", text)
}

fn done() -> Answered {
    Ok(Answer::json(&json!({})))
}

/// A body's JSON, or an empty object.
fn body<T: for<'de> Deserialize<'de>>(request: &Request) -> Result<T, Refusal> {
    if request.body.is_empty() {
        return serde_json::from_value(Value::Object(serde_json::Map::new()))
            .map_err(|error| Refusal::invalid(format!("A body is needed: {error}")));
    }
    request.json()
}
