//! `sala oci`: what machines of Oracle Cloud run beside `sala serve`, and the function.

mod boot;
mod drain_watch;
mod function;
mod install;

use clap::Subcommand;

use boot::BootArgs;
use drain_watch::DrainWatchArgs;
use install::InstallArgs;

#[derive(Subcommand)]
pub(crate) enum OciCommand {
    /// Prepare this machine and start its boot: what cloud-init calls
    #[command(
        after_help = "Writes the systemd units, makes the user and the directories, installs etcd on a master, and starts\n\
        sala-boot.service. May be repeated. Then: journalctl -fu sala-boot"
    )]
    Install(InstallArgs),
    /// Bring this machine into its cluster: secrets, addresses, store, configuration, start
    #[command(
        after_help = "Run by sala-boot.service at each start of the machine; `systemctl restart sala-boot sala` applies\n\
        changes in the Vault. Where it is and what it waits for: /var/lib/sala/boot.json"
    )]
    Boot(BootArgs),
    /// Be the scale-in function: the process of its container
    #[command(
        after_help = "Oracle's service starts it and sets FN_LISTENER and FN_FORMAT; Terraform sets STACK_NAME,\n\
        COMPARTMENT_OCID, MIN_MEDIA_NODES, SCALE_TARGET_CPU, GRACE_SECONDS, MASTER_INSTANCE_OCIDS.\n\
        How its image is built: deploy/oci/function/README.md"
    )]
    Function,
    /// On a media node: drain it when it is taken out of the pool, then have the instance ended
    DrainWatch(DrainWatchArgs),
}

/// Runs one command.
pub(crate) fn run(command: OciCommand) -> anyhow::Result<()> {
    match command {
        OciCommand::Install(args) => install::run(args),
        OciCommand::Boot(args) => boot::run(args),
        OciCommand::Function => function::run(),
        OciCommand::DrainWatch(args) => drain_watch::run(args),
    }
}
