//! Functions. The path's version is the one of Oracle's older clients or of the newer.

use serde_json::{Value, json};

use super::{Answer, Context, Invocation, Outcome, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::functions::{Application, Function};
use crate::iam::Target;
use crate::ocid;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "20181201/applications", "ListApplications", list_applications),
    Route::new("GET", "20181201/applications/{}", "GetApplication", get_application),
    Route::new("GET", "20181201/functions", "ListFunctions", list_functions),
    Route::new("GET", "20181201/functions/{}", "GetFunction", get_function),
    Route::new("POST", "20181201/functions/{}/actions/invoke", "InvokeFunction", invoke),
    Route::new("GET", "20260325/applications", "ListApplications", list_applications),
    Route::new("GET", "20260325/applications/{}", "GetApplication", get_application),
    Route::new("GET", "20260325/functions", "ListFunctions", list_functions),
    Route::new("GET", "20260325/functions/{}", "GetFunction", get_function),
    Route::new("POST", "20260325/functions/{}/actions/invoke", "InvokeFunction", invoke),
];

/// Of a request to a function.
const MAX_BODY_BYTES: usize = 6 << 20;

fn application_json(context: &Context<'_>, application: &Application) -> Value {
    json!({
        "id": application.id, "displayName": application.display_name, "compartmentId": application.compartment,
        "lifecycleState": "ACTIVE", "config": application.config, "shape": "GENERIC_X86",
        "subnetIds": [ocid::named("subnet", &context.cloud.settings.region_key, "primary")], "freeformTags": {},
        "definedTags": {}, "timeCreated": calendar::rfc3339(application.created_unix_ms),
        "timeUpdated": calendar::rfc3339(application.created_unix_ms),
    })
}

fn function_json(context: &Context<'_>, function: &Function) -> Value {
    json!({
        "id": function.id, "displayName": function.config.display_name, "compartmentId": function.compartment,
        "applicationId": function.application, "lifecycleState": "ACTIVE", "config": function.config.config,
        "image": "sim.ocir.io/sim/function:1", "imageDigest": "sha256:00", "memoryInMBs": 256,
        "timeoutInSeconds": function.config.timeout_seconds, "shape": "GENERIC_X86",
        "invokeEndpoint": context.cloud.settings.base_url, "freeformTags": {}, "definedTags": {},
        "timeCreated": calendar::rfc3339(function.created_unix_ms),
        "timeUpdated": calendar::rfc3339(function.created_unix_ms),
    })
}

fn list_applications(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    context.authorize(&["FN_APP_LIST"], &Target { compartment: &compartment, variables: Vec::new() })?;
    let name = context.request.query("displayName");
    let applications = context.cloud.functions.applications.values().filter(|application| {
        application.compartment == compartment && name.is_none_or(|name| name == application.display_name)
    });
    let applications = applications.map(|application| application_json(context, application)).collect();
    Ok(Answer::list(context, applications)?.into())
}

fn application<'a>(context: &'a Context<'_>, id: &str) -> Result<&'a Application, Refusal> {
    context.cloud.functions.applications.get(id).ok_or_else(Refusal::not_found)
}

fn application_target(application: &Application) -> Target<'_> {
    Target {
        compartment: &application.compartment,
        variables: vec![("target.app.id", application.id.clone())],
    }
}

fn get_application(context: &mut Context<'_>) -> Reply {
    let application = application(context, context.parameter(0))?;
    context.authorize(&["FN_APP_READ"], &application_target(application))?;
    let etag = ocid::named("etag", "", &application.id);
    Ok(Answer::json(&application_json(context, application)).with("etag", etag).into())
}

fn list_functions(context: &mut Context<'_>) -> Reply {
    let id = context.request.required("applicationId")?;
    context.authorize(&["FN_FUNCTION_LIST"], &application_target(application(context, id)?))?;
    let name = context.request.query("displayName");
    let functions = context.cloud.functions.functions.values().filter(|function| {
        function.application == id && name.is_none_or(|name| name == function.config.display_name)
    });
    let functions = functions.map(|function| {
        let mut value = function_json(context, function);
        // The list does not tell the configuration.
        if let Some(object) = value.as_object_mut() {
            object.remove("config");
        }
        value
    });
    Ok(Answer::list(context, functions.collect())?.into())
}

fn found<'a>(context: &'a Context<'_>, permission: &str) -> Result<&'a Function, Refusal> {
    let function =
        context.cloud.functions.functions.get(context.parameter(0)).ok_or_else(Refusal::not_found)?;
    let variables =
        vec![("target.function.id", function.id.clone()), ("target.app.id", function.application.clone())];
    context.authorize(&[permission], &Target { compartment: &function.compartment, variables })?;
    Ok(function)
}

fn get_function(context: &mut Context<'_>) -> Reply {
    let function = found(context, "FN_FUNCTION_READ")?;
    let etag = ocid::named("etag", "", &function.id);
    Ok(Answer::json(&function_json(context, function)).with("etag", etag).into())
}

fn invoke(context: &mut Context<'_>) -> Reply {
    let function = found(context, "FN_INVOCATION")?;
    if context.request.body.len() > MAX_BODY_BYTES {
        return Err(Refusal::new(413, "PayloadTooLarge", "A function takes requests up to 6 MB."));
    }
    let tenancy = &context.cloud.settings.tenancy.id;
    let compartment = match context.principal {
        crate::auth::Principal::User { .. } => tenancy.clone(),
        crate::auth::Principal::Instance { id } => context
            .cloud
            .compute
            .get(id)
            .map_or_else(|| tenancy.clone(), |instance| instance.compartment.clone()),
        crate::auth::Principal::Resource { compartment, .. } => compartment.clone(),
    };
    // What the service says of the caller replaces whatever the caller says.
    let headers = [
        ("oci-subject-id", context.principal.id().to_owned()),
        ("oci-subject-type", context.principal.subject_type().to_owned()),
        ("oci-subject-tenancy-id", tenancy.clone()),
        ("oci-subject-compartment-id", compartment),
        ("opc-compartment-id", function.compartment.clone()),
        ("content-type", context.request.header("content-type").unwrap_or("application/json").to_owned()),
        ("fn-intent", context.request.header("fn-intent").unwrap_or_default().to_owned()),
        ("opc-request-id", context.request.header("opc-request-id").unwrap_or_default().to_owned()),
    ];
    let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(Outcome::Invoke(Invocation {
        function: function.id.clone(),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).collect(),
        body: context.request.body.clone(),
        is_detached: context.request.header("fn-invoke-type") == Some("detached"),
    }))
}
