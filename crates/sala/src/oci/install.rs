//! `sala oci install`: what cloud-init calls on a fresh machine. It prepares the machine and starts its boot.

use anyhow::{Context, bail};
use clap::Args;
use oci::Imds;
use oci::boot::{Api, Identity, OracleApi};
use oci::machine::{Install, Machine};

use super::boot::MachineArgs;
use crate::config::Logging;
use crate::log;

#[derive(Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    machine: MachineArgs,
}

/// Installs; the boot goes on by itself.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: InstallArgs) -> anyhow::Result<()> {
    log::init(&Logging::default())?;
    let facts = OracleApi::new(Imds::from_env()?).facts().await.context("the instance metadata")?;
    let master = match facts.metadata.get("salaRole").map(String::as_str) {
        Some("master") => true,
        Some("media") => false,
        _ => bail!(
            "the instance metadata has no `salaRole`; this machine is not one that the Terraform module made"
        ),
    };
    // The boot says so, too, until it is corrected.
    if let Err(error) = Identity::read(&facts) {
        tracing::error!("{error}");
    }
    let mut machine = Machine::new(&std::path::absolute(args.machine.root)?);
    let sala = std::env::current_exe().context("where this program is")?;
    machine.install(&Install { master, sala }).await?;
    tracing::info!("installed; the machine boots into its cluster: journalctl -fu sala-boot");
    Ok(())
}
