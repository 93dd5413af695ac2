//! Logs go to standard error, as text or JSON. Secrets never get there: their types print nothing.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::Logging;

/// Starts logging for the rest of the process.
pub(crate) fn init(logging: &Logging) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&logging.level).with_context(|| {
        format!("logging.level `{}` is not understood; use error, warn, info, debug or trace", logging.level)
    })?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    if logging.json {
        subscriber.json().init()
    } else {
        subscriber.init()
    }
    Ok(())
}
