//! Logs go to standard error, as text or JSON. Secrets never get there: their types print nothing.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::Logging;

/// Starts logging for the rest of the process.
pub(crate) fn init(logging: &Logging) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&logging.level).with_context(|| {
        format!("logging.level `{}` is not understood; use error, warn, info, debug or trace", logging.level)
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if logging.json {
        subscriber.json().init()
    } else {
        subscriber.init()
    }
    Ok(())
}
