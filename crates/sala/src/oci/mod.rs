//! `sala oci`: what machines of Oracle Cloud run beside `sala serve`, and the function.

mod drain_watch;
mod function;

use clap::Subcommand;

use drain_watch::DrainWatchArgs;

#[derive(Subcommand)]
pub(crate) enum OciCommand {
    /// Be the scale-in function: the process of its container
    #[command(after_help = "Oracle's service starts it and sets FN_LISTENER and FN_FORMAT; Terraform sets STACK_NAME,\n\
        COMPARTMENT_OCID, MIN_MEDIA_NODES, SCALE_TARGET_CPU, GRACE_SECONDS, MASTER_INSTANCE_OCIDS.\n\
        How its image is built: deploy/oci/function/README.md")]
    Function,
    /// On a media node: drain it when it is taken out of the pool, then have the instance ended
    DrainWatch(DrainWatchArgs),
}

/// Runs one command.
pub(crate) fn run(command: OciCommand) -> anyhow::Result<()> {
    match command {
        OciCommand::Function => function::run(),
        OciCommand::DrainWatch(args) => drain_watch::run(args),
    }
}
