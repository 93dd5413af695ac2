//! Functions: found by name, and invoked.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;

use super::state::states;
use crate::endpoints::Service;
use crate::error::Error;
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};

/// A cold start pulls the image: up to half a minute before the function itself begins.
const COLD_START: Duration = Duration::from_secs(40);

/// What an answer of ours never exceeds.
const MAX_ANSWER: usize = 1 << 20;

/// Functions of the principal's region.
#[derive(Clone)]
pub struct Functions {
    api: Api,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    pub id: Ocid,
    pub display_name: String,
    pub lifecycle_state: FunctionState,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    pub id: Ocid,
    pub display_name: String,
    pub application_id: Ocid,
    pub lifecycle_state: FunctionState,
    pub invoke_endpoint: String,
    #[serde(default)]
    pub timeout_in_seconds: Option<u32>,
    #[serde(default)]
    pub image: Option<String>,
}

states! {
    /// Of functions and of applications.
    FunctionState {
        Creating = "CREATING",
        Active = "ACTIVE",
        Inactive = "INACTIVE",
        Updating = "UPDATING",
        Deleting = "DELETING",
        Deleted = "DELETED",
        Failed = "FAILED",
    }
}

/// A function's answer.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub body: Bytes,
    pub content_type: Option<String>,
    pub request_id: Option<String>,
}

impl Functions {
    pub(crate) fn new(api: Api) -> Functions {
        Functions { api }
    }

    pub async fn applications(
        &self,
        compartment: &Ocid,
        display_name: Option<&str>,
    ) -> Result<Vec<Application>, Error> {
        let call = Call::get("ListApplications", Service::Functions, root(&["applications"]))
            .query("compartmentId", compartment)
            .query_if("displayName", display_name);
        self.api.list(call).await
    }

    pub async fn functions(
        &self,
        application: &Ocid,
        display_name: Option<&str>,
    ) -> Result<Vec<Function>, Error> {
        let call = Call::get("ListFunctions", Service::Functions, root(&["functions"]))
            .query("applicationId", application)
            .query_if("displayName", display_name);
        self.api.list(call).await
    }

    pub async fn function(&self, id: &Ocid) -> Result<Function, Error> {
        self.api.json(Call::get("GetFunction", Service::Functions, root(&["functions", id]))).await
    }

    /// An active function by its application's and its own name.
    pub async fn find(
        &self,
        compartment: &Ocid,
        application: &str,
        name: &str,
    ) -> Result<Option<Function>, Error> {
        let named = |app: &Application| app.display_name == application && usable(app.lifecycle_state);
        for app in self.applications(compartment, Some(application)).await?.into_iter().filter(named) {
            let mut functions = self.functions(&app.id, Some(name)).await?.into_iter();
            if let Some(found) = functions.find(|f| f.display_name == name && usable(f.lifecycle_state)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Runs the function and waits for its answer. Only sent again if it surely was not run. A function that fails is
    /// an error with status 502 and the code `FunctionInvokeExecutionFailed` or the like.
    pub async fn invoke(
        &self,
        function: &Function,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Invocation, Error> {
        // 30 s is the service's default.
        let run = Duration::from_secs(function.timeout_in_seconds.unwrap_or(30).into());
        let path = root(&["functions", &function.id, "actions", "invoke"]);
        let call = Call::post("InvokeFunction", Service::Functions, path)
            .at(&function.invoke_endpoint)
            .header(HeaderName::from_static("fn-invoke-type"), "sync")
            .bytes(content_type, body.into())
            .limit(MAX_ANSWER)
            .attempt_within(run + COLD_START);
        let answer = self.api.send(call).await?;
        let text = |name: &str| answer.header(name).map(str::to_owned);
        let (content_type, request_id) = (text(CONTENT_TYPE.as_str()), text("opc-request-id"));
        Ok(Invocation { content_type, request_id, body: answer.body })
    }
}

fn usable(state: FunctionState) -> bool {
    matches!(state, FunctionState::Active | FunctionState::Updating)
}

fn root(more: &[&str]) -> String {
    path(["20181201"].into_iter().chain(more.iter().copied()))
}
