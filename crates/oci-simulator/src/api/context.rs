//! What a handler works with.

use std::time::Duration;

use super::{Match, Refusal, Request};
use crate::auth::Principal;
use crate::cloud::{Cloud, Now};
use crate::iam::{Question, Target};

/// A request on its way through a handler.
pub(crate) struct Context<'a> {
    pub(crate) cloud: &'a mut Cloud,
    pub(crate) request: &'a Request,
    pub(crate) matched: &'a Match,
    pub(crate) principal: &'a Principal,
    pub(crate) now: Now,
}

impl Context<'_> {
    /// A part of the path.
    pub(crate) fn parameter(&self, n: usize) -> &str {
        self.matched.parameters.get(n).map_or("", String::as_str)
    }

    /// Lets the request through only with all these permissions.
    ///
    /// # Errors
    /// 404, as OCI does.
    pub(crate) fn authorize(&self, permissions: &[&str], target: &Target<'_>) -> Result<(), Refusal> {
        match permissions.iter().find(|permission| !self.may(permission, target)) {
            Some(missing) => {
                tracing::info!(
                    operation = self.matched.route.operation,
                    principal = self.principal.id(),
                    permission = missing,
                    compartment = target.compartment,
                    "denied by IAM"
                );
                Err(Refusal::not_found())
            }
            None => Ok(()),
        }
    }

    /// Whether the caller has a permission.
    pub(crate) fn may(&self, permission: &str, target: &Target<'_>) -> bool {
        let facts = self.cloud.facts(self.principal, self.now);
        self.cloud.iam.allows(&Question {
            principal: self.principal,
            operation: self.matched.route.operation,
            permission,
            target,
            facts: &facts,
            now: self.now.cloud,
        })
    }

    /// Checks `If-Match`.
    ///
    /// # Errors
    /// 412 when it names another version.
    pub(crate) fn if_match(&self, etag: &str) -> Result<(), Refusal> {
        match self.request.header("if-match") {
            Some(wanted) if wanted != "*" && wanted.trim_matches('"') != etag => {
                Err(Refusal::no_etag_match())
            }
            _ => Ok(()),
        }
    }

    /// The cloud's time.
    pub(crate) fn cloud_now(&self) -> Duration {
        self.now.cloud
    }

    /// The compartment that the query names.
    ///
    /// # Errors
    /// 400 without one.
    pub(crate) fn compartment(&self) -> Result<String, Refusal> {
        Ok(self.request.required("compartmentId")?.to_owned())
    }
}
