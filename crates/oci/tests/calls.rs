//! How a call ends when the service throttles, fails, hangs up, is silent, or answers nonsense.

mod support;

use std::time::{Duration, SystemTime};

use oci::services::{Bucket, Condition, Detach, Function, SecretValue, Terminate};
use oci::{Cloud, Error, Failure, Ocid, Patience, Policy};
use serde_json::json;
use support::{QUICK, Reply, Service, cloud};

async fn scripted(replies: impl IntoIterator<Item = Reply>) -> (Service, Cloud) {
    let service = Service::scripted(replies).await;
    let cloud = cloud(&service.url, QUICK);
    (service, cloud)
}

fn bucket() -> Bucket {
    Bucket { namespace: "ns".into(), name: "bu".into() }
}

fn function(url: &str) -> Function {
    serde_json::from_value(json!({
        "id": "f", "displayName": "f", "applicationId": "a", "lifecycleState": "ACTIVE", "invokeEndpoint": url,
    }))
    .unwrap()
}

#[tokio::test]
async fn throttling_and_faults_pass_unnoticed() {
    let throttled = Reply::error(429, "TooManyRequests").with("retry-after", "0");
    let (service, cloud) = scripted([
        throttled,
        Reply::error(500, "InternalServerError"),
        Reply::Hangup,
        Reply::json(&json!("ns")),
    ])
    .await;
    assert_eq!(cloud.objects().namespace().await.unwrap(), "ns");
    assert_eq!(service.seen().len(), 4);
}

#[tokio::test]
async fn a_lasting_fault_is_told_with_what_support_needs() {
    let (service, cloud) = scripted([Reply::error(503, "ServiceUnavailable")]).await;
    let error = cloud.objects().namespace().await.unwrap_err();
    assert_eq!((error.status(), error.code(), error.attempts()), (Some(503), "ServiceUnavailable", 4));
    assert_eq!((error.request_id(), service.seen().len()), (Some("REQ1"), 4));
    assert_eq!(
        error.to_string(),
        "GetNamespace: 503 ServiceUnavailable: ServiceUnavailable it is (request REQ1, 4 attempts); a fault of the \
         service: try again later, see https://ocistatus.oraclecloud.com"
    );
}

#[tokio::test]
async fn a_service_that_asks_for_more_time_than_there_is_gets_no_second_request() {
    let (service, cloud) = scripted([Reply::error(429, "TooManyRequests").with("retry-after", "3600")]).await;
    let error = cloud.objects().namespace().await.unwrap_err();
    assert!(error.is_throttled() && error.is_transient());
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn silence_ends_with_the_attempt_and_names_the_host() {
    let service = Service::scripted([Reply::Silence]).await;
    let policy = Policy { attempt: Duration::from_millis(20), max_attempts: 2, ..QUICK };
    let error = cloud(&service.url, policy).objects().namespace().await.unwrap_err();
    assert!(
        matches!(error.failure(), Failure::TimedOut { host, .. } if service.url.ends_with(host)),
        "{error}"
    );
    assert!(error.is_ambiguous() && error.request_id().is_some());
    assert_eq!(error.attempts(), 2);
}

#[tokio::test]
async fn nobody_listens() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = cloud(&format!("http://{closed}"), QUICK).objects().namespace().await.unwrap_err();
    assert!(matches!(error.failure(), Failure::Unreachable { .. }), "{error}");
    assert!(error.is_transient() && !error.is_ambiguous());
}

#[tokio::test]
async fn all_attempts_at_a_creation_are_one_to_the_service() {
    let (service, cloud) =
        scripted([Reply::Hangup, Reply::error(500, "InternalError"), Reply::status(202)]).await;
    let how = Detach { decrement_size: true, terminate: false };
    cloud.pools().detach(&Ocid::new("p"), &Ocid::new("i"), how).await.unwrap();
    let tokens: Vec<_> =
        service.seen().iter().map(|seen| seen.header("opc-retry-token").unwrap().to_owned()).collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|token| token == &tokens[0] && token.len() >= 20));
    // Dates and request ids are those of the attempt.
    let ids: std::collections::HashSet<_> =
        service.seen().iter().map(|seen| seen.header("opc-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_function_that_may_have_run_is_not_run_again() {
    for reply in [Reply::Hangup, Reply::error(502, "FunctionInvokeExecutionFailed"), Reply::error(503, "X")] {
        let (service, cloud) = scripted([reply]).await;
        let error =
            cloud.functions().invoke(&function(&service.url), "application/json", "{}").await.unwrap_err();
        assert_eq!((service.seen().len(), error.attempts()), (1, 1), "{error}");
    }
    let (service, cloud) = scripted([Reply::error(429, "TooManyRequests"), Reply::text("{}")]).await;
    cloud.functions().invoke(&function(&service.url), "application/json", "{}").await.unwrap();
    assert_eq!(service.seen().len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_as_that() {
    let theirs = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4000));
    let (service, cloud) = scripted([Reply::error(401, "NotAuthenticated").with("date", &theirs)]).await;
    let error = cloud.objects().namespace().await.unwrap_err();
    assert!(error.is_clock_skew() && !error.is_transient());
    assert!(error.to_string().contains("s behind Oracle's"), "{error}");
    assert_eq!(service.seen().len(), 1);
    let (_service, cloud) = scripted([Reply::error(401, "NotAuthenticated")]).await;
    let error = cloud.objects().namespace().await.unwrap_err();
    assert!(error.is_not_authorized() && error.remedy().contains("fingerprint"), "{error}");
}

#[tokio::test]
async fn what_is_missing_and_what_is_hidden_are_told_apart_where_the_service_does() {
    let (_service, cloud) = scripted([Reply::error(404, "ObjectNotFound")]).await;
    assert!(cloud.objects().find(&bucket(), "x").await.unwrap().is_none());
    assert!(!cloud.objects().delete(&bucket(), "x", None).await.unwrap());
    let (_service, cloud) = scripted([Reply::error(404, "BucketNotFound")]).await;
    let error = cloud.objects().find(&bucket(), "x").await.unwrap_err();
    assert!(error.is_not_found() && !error.is_not_authorized());
    let (_service, cloud) = scripted([Reply::error(404, "NotAuthorizedOrNotFound")]).await;
    let error = cloud.pools().pool(&Ocid::new("p")).await.unwrap_err();
    assert!(error.is_not_found() && error.is_not_authorized() && error.remedy().contains("policy"));
}

#[tokio::test]
async fn a_head_without_a_body_still_tells_what_it_is() {
    let (_service, cloud) = scripted([Reply::status(404)]).await;
    let error = cloud.objects().head_bucket(&bucket()).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(404), "NotFound"));
}

#[tokio::test]
async fn who_is_patient_waits_for_a_policy_and_for_a_transition() {
    let replies = || {
        // More than the budget of retries: to wait for what was announced is none.
        let hidden = (0..60).map(|_| Reply::error(404, "NotAuthorizedOrNotFound"));
        hidden.chain([Reply::error(409, "IncorrectState"), Reply::status(202)]).collect::<Vec<_>>()
    };
    let how = Detach { decrement_size: true, terminate: false };
    let (pool, instance) = (Ocid::new("p"), Ocid::new("i"));
    let (service, cloud) = scripted(replies()).await;
    let patience =
        Patience { within: Some(Duration::from_secs(60)), propagation: true, incorrect_state: true };
    cloud.patient(patience).pools().detach(&pool, &instance, how).await.unwrap();
    assert_eq!(service.seen().len(), 62);
    let (service, cloud) = scripted(replies()).await;
    cloud.pools().detach(&pool, &instance, how).await.unwrap_err();
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn a_dead_service_does_not_get_a_multiple_of_the_load() {
    let (service, cloud) = scripted([Reply::error(500, "InternalError")]).await;
    for _ in 0..50 {
        cloud.objects().namespace().await.unwrap_err();
    }
    // 50 calls of 4 attempts would be 200; the budget gives 20 retries and a few more by time.
    let seen = service.seen().len();
    assert!((70..100).contains(&seen), "{seen}");
}

#[tokio::test]
async fn a_lock_whose_answer_was_lost_is_still_ours() {
    let stored = Reply::text("mine").with("etag", "e7");
    let lost = [Reply::Hangup, Reply::error(412, "IfNoneMatchFailed"), stored];
    let (service, cloud) = scripted(lost).await;
    let etag = cloud.objects().put(&bucket(), "lock", "text/plain", "mine", Condition::Absent).await.unwrap();
    assert_eq!((etag.as_str(), service.seen().len()), ("e7", 3));
    let theirs = Reply::text("theirs").with("etag", "e7");
    let (_service, cloud) = scripted([Reply::Hangup, Reply::error(412, "IfNoneMatchFailed"), theirs]).await;
    let error =
        cloud.objects().put(&bucket(), "lock", "text/plain", "mine", Condition::Absent).await.unwrap_err();
    assert!(error.is_precondition_failed() && error.is_conflict());
    // Lost fairly: no second look.
    let (service, cloud) = scripted([Reply::error(412, "IfNoneMatchFailed")]).await;
    let error =
        cloud.objects().put(&bucket(), "lock", "text/plain", "mine", Condition::Absent).await.unwrap_err();
    assert!(error.is_precondition_failed());
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    let page = |id: &str, next: &str| {
        let row = json!([{ "id": id, "displayName": "v", "compartmentId": "c", "lifecycleState": "ACTIVE",
            "managementEndpoint": "https://x" }]);
        Reply::json(&row).with("opc-next-page", next)
    };
    let (service, cloud) = scripted([page("a", "2/&"), page("b", "3"), page("c", "")]).await;
    let ids: Vec<_> = cloud.kms().vaults(&Ocid::new("c")).await.unwrap().into_iter().map(|v| v.id).collect();
    assert_eq!(ids, ["a", "b", "c"].map(Ocid::new));
    assert_eq!(service.seen()[1].query, "compartmentId=c&page=2%2F%26");
    let (_service, cloud) = scripted([page("a", "for-ever")]).await;
    let error = cloud.kms().vaults(&Ocid::new("c")).await.unwrap_err();
    assert!(matches!(error.failure(), Failure::BadAnswer { .. }), "{error}");
}

#[tokio::test]
async fn answers_that_are_too_large_or_no_json_are_errors() {
    let (_service, cloud) = scripted([Reply::text(vec![b' '; 5 << 20])]).await;
    let error = cloud.objects().namespace().await.unwrap_err();
    assert!(matches!(error.failure(), Failure::TooLarge { .. }), "{error}");
    let (service, cloud) = scripted([Reply::text("<html>proxy</html>")]).await;
    let error = cloud.objects().namespace().await.unwrap_err();
    assert!(matches!(error.failure(), Failure::BadAnswer { .. }), "{error}");
    assert_eq!(service.seen().len(), 1);
}

#[tokio::test]
async fn a_secret_shows_in_no_error() {
    let nonsense = json!({ "secretId": "s", "versionNumber": "hunter2", "secretBundleContent": "hunter2" });
    let (_service, cloud) = scripted([Reply::json(&nonsense)]).await;
    let error = cloud.secrets().read(&Ocid::new("s")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    assert_eq!(format!("{:?}", SecretValue::from("hunter2")), "SecretValue(7 bytes)");
}

#[tokio::test]
async fn tags_that_somebody_else_changes_meanwhile_are_kept() {
    let instance = |tags| {
        Reply::json(&json!({ "id": "i", "compartmentId": "c", "lifecycleState": "RUNNING",
            "timeCreated": "2026-11-24T12:00:00Z", "freeformTags": tags }))
    };
    let (service, cloud) = scripted([
        instance(json!({ "a": "1" })).with("etag", "e1"),
        Reply::error(412, "NoEtagMatch"),
        instance(json!({ "a": "1", "b": "2" })).with("etag", "e2"),
        instance(json!({ "a": "1", "b": "2", "c": "3" })),
    ])
    .await;
    cloud.compute().set_tag(&Ocid::new("i"), "c", "3").await.unwrap();
    let last = service.seen().pop().unwrap();
    assert_eq!(last.json(), json!({ "freeformTags": { "a": "1", "b": "2", "c": "3" } }));
    assert_eq!(last.header("if-match"), Some("e2"));
}

#[tokio::test]
async fn an_instance_is_ended_once_however_often_it_is_asked() {
    let in_state = |state: &str| {
        Reply::json(&json!({ "id": "i", "compartmentId": "c", "lifecycleState": state,
            "timeCreated": "2026-11-24T12:00:00Z" }))
    };
    let end = async |replies: [Reply; 2]| -> Result<Terminate, Error> {
        let (_service, cloud) = scripted(replies).await;
        cloud.compute().terminate(&Ocid::new("i")).await
    };
    let gone = end([Reply::error(409, "IncorrectState"), in_state("TERMINATING")]).await;
    assert_eq!(gone.unwrap(), Terminate::Already);
    let busy = end([Reply::error(409, "IncorrectState"), in_state("STARTING")]).await;
    assert!(busy.unwrap_err().is_incorrect_state());
    // What a policy hides has not ended.
    let hidden = Reply::error(404, "NotAuthorizedOrNotFound");
    assert!(end([hidden.clone(), hidden]).await.unwrap_err().is_not_authorized());
}
