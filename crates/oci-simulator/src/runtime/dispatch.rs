//! A request's way: route, caller, fault, handler, log.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::listener::Reply;
use crate::api::{self, Answer, Context, Invocation, Outcome, Refusal, Request};
use crate::auth::Principal;
use crate::auth::signature::Verifier;
use crate::calls::Call;
use crate::faults::{self, Kind};

/// The longest of injected delays.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// Who asks for what.
struct Asked {
    operation: &'static str,
    principal: Result<Option<Principal>, Refusal>,
    caller_id: String,
    caller_name: String,
    matched: Option<api::Match>,
}

/// What came of it, before it is sent.
enum Done {
    Answer(Answer),
    Silence,
    Hang,
}

/// Answers a request to the services or to the metadata.
pub(super) async fn answer(shared: Arc<Shared>, request: Request) -> Reply {
    let asked = identify(&shared, &request);
    let fault = {
        let (mut cloud, _) = shared.cloud();
        let call = faults::Call {
            operation: asked.operation,
            caller_id: &asked.caller_id,
            caller_name: &asked.caller_name,
            path: &request.target,
        };
        cloud.faults.strike(&call, fastrand::f64())
    };
    if let Some(Kind::Delay { millis }) = fault {
        tokio::time::sleep(Duration::from_millis(millis).min(MAX_DELAY)).await;
    }
    let done = match &fault {
        Some(Kind::Error { status, code, message, retry_after_seconds }) => {
            let mut answer = injected(*status, code.as_deref(), message.as_deref());
            if let Some(seconds) = retry_after_seconds {
                answer = answer.with("retry-after", seconds.to_string());
            }
            Done::Answer(answer)
        }
        Some(Kind::Hang) => Done::Hang,
        Some(Kind::Drop { is_done: false } | Kind::KillCaller { is_done: false }) => Done::Silence,
        _ => handle(&shared, &asked, &request).await,
    };
    let done = match &fault {
        Some(Kind::Drop { is_done: true } | Kind::KillCaller { is_done: true }) => Done::Silence,
        _ => done,
    };
    log(&shared, &asked, &request, &done, fault.as_ref());
    if let Some(Kind::KillCaller { .. }) = fault {
        // Last: who sees that it is dead sees its last call as well.
        super::machines::kill(&shared, &asked.caller_id);
    }
    shared.act();
    match done {
        Done::Answer(answer) => Reply::Answer(answer),
        Done::Silence => Reply::Silence,
        Done::Hang => Reply::Hang,
    }
}

fn injected(status: u16, code: Option<&str>, message: Option<&str>) -> Answer {
    let usual = match status {
        429 => ("TooManyRequests", "Too many requests for the user."),
        503 => ("ServiceUnavailable", "The service is currently unavailable."),
        _ => ("InternalError", "An internal server error occurred."),
    };
    let (code, message) = (code.unwrap_or(usual.0), message.unwrap_or(usual.1));
    let body = serde_json::json!({"code": code, "message": message});
    Answer::json(&body).status(if (100..600).contains(&status) { status } else { 500 })
}

fn identify(shared: &Shared, request: &Request) -> Asked {
    let (cloud, now) = shared.cloud();
    let first = request.segments.first().map_or("", String::as_str);
    let mut asked = Asked {
        operation: "Unknown",
        principal: Ok(None),
        caller_id: String::new(),
        caller_name: String::new(),
        matched: None,
    };
    if first == "imds" {
        asked.operation = "GetInstanceMetadata";
        let instance = request.segments.get(1).and_then(|token| cloud.compute.by_imds_token(token));
        asked.caller_id = instance.map(|instance| instance.id.clone()).unwrap_or_default();
    } else if request.segments == ["v1", "x509"] && request.method == http::Method::POST {
        asked.operation = "FederateX509";
    } else if let Some(matched) = api::find(request) {
        asked.operation = matched.route.operation;
        let verifier = Verifier {
            authority: &cloud.authority,
            users: &cloud.users,
            tenancy: &cloud.settings.tenancy.id,
            unix: now.unix(),
        };
        let principal = verifier.caller(request, matched.route.cover);
        if let Ok(principal) = &principal {
            asked.caller_id = principal.id().to_owned();
        }
        asked.principal = principal.map(Some);
        asked.matched = Some(matched);
    }
    let named = cloud.compute.get(&asked.caller_id).map(|instance| instance.display_name.clone());
    asked.caller_name = named.unwrap_or_else(|| asked.caller_id.clone());
    asked
}

async fn handle(shared: &Arc<Shared>, asked: &Asked, request: &Request) -> Done {
    let outcome = match asked.operation {
        "GetInstanceMetadata" => {
            let (mut cloud, now) = shared.cloud();
            Ok(api::imds::answer(&mut cloud, request, now).0.into())
        }
        "FederateX509" => {
            let (cloud, now) = shared.cloud();
            api::federation::answer(&cloud, request, now).map(|(answer, _)| answer.into())
        }
        _ => routed(shared, asked, request),
    };
    match outcome {
        Ok(Outcome::Answer(answer)) => Done::Answer(answer),
        Ok(Outcome::Silence) => Done::Silence,
        Ok(Outcome::Invoke(invocation)) => Done::Answer(invoke(shared, asked, invocation).await),
        Err(refusal) => Done::Answer(refusal.into()),
    }
}

fn routed(shared: &Shared, asked: &Asked, request: &Request) -> api::Reply {
    let Some(matched) = &asked.matched else {
        let text = format!(
            "The simulator has no operation {} {}. Add it in crates/oci-simulator/src/api.",
            request.method, request.target
        );
        tracing::warn!(method = %request.method, path = request.target, "an operation is not simulated");
        return Err(Refusal::new(501, "NotSimulated", text));
    };
    let principal = match &asked.principal {
        Ok(Some(principal)) => principal,
        Ok(None) => return Err(Refusal::not_found()),
        Err(refusal) => return Err(refusal.clone()),
    };
    let (mut cloud, now) = shared.cloud();
    // A terminated instance's token is good for a while, but nobody is behind it any more.
    if let Principal::Instance { id } = principal
        && cloud.compute.get(id).is_none_or(|instance| instance.state.name() == "TERMINATED")
    {
        return Err(Refusal::new(401, "NotAuthenticated", "The instance has been terminated."));
    }
    let mut context = Context { cloud: &mut cloud, request, matched, principal, now };
    (matched.route.handler)(&mut context)
}

async fn invoke(shared: &Arc<Shared>, asked: &Asked, invocation: Invocation) -> Answer {
    let Ok(Some(principal)) = &asked.principal else { return Refusal::not_found().into() };
    let n = {
        let (mut cloud, now) = shared.cloud();
        let caller = (principal.id(), principal.subject_type());
        cloud.functions.begin(&invocation.function, caller, &invocation.body, now.unix_ms)
    };
    if invocation.is_detached {
        let shared = shared.clone();
        tokio::spawn(async move {
            let answer = super::containers::call(&shared, &invocation).await;
            shared.cloud().0.functions.end(n, answer.status, &answer.body);
        });
        return Answer::empty(202);
    }
    let answer = super::containers::call(shared, &invocation).await;
    shared.cloud().0.functions.end(n, answer.status, &answer.body);
    answer
}

fn log(shared: &Shared, asked: &Asked, request: &Request, done: &Done, fault: Option<&Kind>) {
    let answer = match done {
        Done::Answer(answer) => Some(answer),
        Done::Silence | Done::Hang => None,
    };
    let error = answer.filter(|answer| answer.status >= 400);
    let error =
        error.map(|answer| String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]).into_owned());
    // The path of the metadata holds the instance's secret.
    let path = match asked.operation {
        "GetInstanceMetadata" => request.segments.get(2..).unwrap_or_default().join("/"),
        _ => request.target.clone(),
    };
    let call = Call {
        n: 0,
        unix_ms: super::unix_ms(),
        operation: asked.operation.into(),
        method: request.method.to_string(),
        path,
        caller: asked.caller_name.clone(),
        caller_id: asked.caller_id.clone(),
        status: answer.map(|answer| answer.status),
        error,
        fault: fault.map(|kind| format!("{kind:?}")),
    };
    tracing::debug!(
        operation = call.operation,
        caller = call.caller,
        status = call.status,
        error = call.error
    );
    shared.cloud().0.calls.add(call);
}
