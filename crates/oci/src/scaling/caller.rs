//! Calling the function: found by its name once, then by its id until it is made anew.

use std::sync::{Arc, Mutex, PoisonError};

use super::wire::{Answer, Ask};
use super::{FUNCTION_NAME, application_name};
use crate::services::Function;
use crate::{Cloud, Error, Ocid};

/// Why the function did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Cloud(#[from] Error),
    #[error(
        "there is no active function `{FUNCTION_NAME}` in the application `{0}`; in elastic mode `terraform apply` makes it"
    )]
    NoFunction(String),
    #[error("the function's answer is not understood: {0}; is its image of this version?")]
    BadAnswer(serde_json::Error),
}

/// Calls the function of a stack.
pub struct Caller {
    cloud: Cloud,
    compartment: Ocid,
    stack: String,
    found: Mutex<Option<Arc<Function>>>,
}

impl Caller {
    pub fn new(cloud: Cloud, compartment: Ocid, stack: String) -> Caller {
        Caller { cloud, compartment, stack, found: Mutex::new(None) }
    }

    /// Calls it and reads its answer. A call that may have been carried out is not repeated.
    pub async fn call(&self, ask: &Ask) -> Result<Answer, CallError> {
        let function = self.find().await?;
        let body = serde_json::to_vec(ask).unwrap_or_default();
        let answer = self.cloud.functions().invoke(&function, "application/json", body).await;
        let answer = answer.inspect_err(|error| {
            if error.is_not_found() {
                self.remember(None);
            }
        })?;
        serde_json::from_slice(&answer.body).map_err(CallError::BadAnswer)
    }

    async fn find(&self) -> Result<Arc<Function>, CallError> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(function) = known {
            return Ok(function);
        }
        let application = application_name(&self.stack);
        let found = self.cloud.functions().find(&self.compartment, &application, FUNCTION_NAME).await?;
        let found = Arc::new(found.ok_or(CallError::NoFunction(application))?);
        self.remember(Some(found.clone()));
        Ok(found)
    }

    fn remember(&self, function: Option<Arc<Function>>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = function;
    }
}
