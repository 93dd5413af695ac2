//! `oci-simulator serve --config FILE`; under the names `systemctl` and `journalctl` the programs of a simulated
//! machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use oci_simulator::{config, machine};

#[derive(Parser)]
#[command(about = "Answers Oracle Cloud's APIs truthfully on one host, for tests")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the cloud until SIGTERM
    Serve {
        /// JSON or YAML
        #[arg(long)]
        config: PathBuf,
    },
    /// Run one machine (started by `serve`)
    #[command(hide = true)]
    Machine(machine::Arguments),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("systemctl") => return code(machine::systemctl(arguments)),
        Some("journalctl") => return code(machine::journalctl(arguments)),
        _ => {}
    }
    match run(CommandLine::parse().command) {
        Ok(status) => code(status),
        Err(error) => {
            eprintln!("oci-simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn run(command: Command) -> anyhow::Result<i32> {
    match command {
        Command::Serve { config: path } => {
            let filter = tracing_subscriber::EnvFilter::try_from_default_env();
            let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
            let config = config::read(&path)?;
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(oci_simulator::serve(config))?;
            Ok(0)
        }
        Command::Machine(arguments) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let status = runtime.block_on(machine::run(arguments))?;
            // A blocked read of standard input must not keep the machine alive.
            runtime.shutdown_background();
            Ok(status)
        }
    }
}
