//! `sala oci function`: the scale-in function in its container, until it is stopped.

use std::sync::Arc;

use oci::Cloud;
use oci::scaling::fn_server::{Call, FnServer};
use oci::scaling::function::{ScalingFunction, Settings};
use oci::scaling::wire::Answer;

use crate::config::Logging;
use crate::log;
use crate::server::wait_for_stop;

/// Serves the socket that Oracle's service names.
#[tokio::main]
pub(crate) async fn run() -> anyhow::Result<()> {
    log::init(&Logging { level: set("LOG_LEVEL").unwrap_or_else(|| "info".into()), json: true })?;
    let server =
        FnServer::bind(&set("FN_FORMAT").unwrap_or_default(), &set("FN_LISTENER").unwrap_or_default())?;
    let function = Arc::new(function());
    match &*function {
        Ok(_) => tracing::info!("the scale-in function is ready"),
        Err(reason) => tracing::error!(reason, "the scale-in function refuses every call"),
    }
    tokio::select! {
        never = server.serve(move |call| answer(function.clone(), call)) => match never {},
        _ = wait_for_stop() => Ok(()),
    }
}

/// What is wrong is told to who calls: a container that ends at once would tell nobody.
fn function() -> Result<ScalingFunction, String> {
    let settings = Settings::read(set).map_err(|error| error.to_string())?;
    let cloud = Cloud::in_function().map_err(|error| error.to_string())?;
    Ok(ScalingFunction::new(cloud, settings))
}

async fn answer(function: Arc<Result<ScalingFunction, String>>, call: Call) -> Answer {
    match &*function {
        Ok(function) => function.call(&call).await,
        Err(reason) => Answer::refused(reason.as_str()),
    }
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
