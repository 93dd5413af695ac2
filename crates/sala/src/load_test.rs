//! `sala load-test`: synthetic callers against a running server.

use std::time::Duration;

use clap::Args;
use loadtest::{Plan, Target};
use tokio::sync::watch;

use crate::cli::ServerArgs;
use crate::token::{key_store, parse_ttl};

/// Who comes, for how long, and with what.
#[derive(Args)]
pub(crate) struct LoadTestArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Rooms
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Callers in each room who publish, and hear and see each other
    #[arg(long, default_value_t = 2)]
    publishers: usize,
    /// Callers in each room who only listen and watch
    #[arg(long, default_value_t = 0)]
    subscribers: usize,
    /// Publish no audio
    #[arg(long)]
    no_audio: bool,
    /// Publish no video
    #[arg(long)]
    no_video: bool,
    /// Reliable messages that one publisher of each room sends per second
    #[arg(long, default_value_t = 5.0)]
    messages_per_s: f64,
    /// Guests who come and go meanwhile, per second, each in a room of its own
    #[arg(long, default_value_t = 0.0)]
    churn_per_s: f64,
    /// All join within this time …
    #[arg(long, default_value = "5s", value_parser = parse_ttl)]
    ramp: Duration,
    /// … and stay this long
    #[arg(long, default_value = "30s", value_parser = parse_ttl)]
    duration: Duration,
    /// Names of the rooms begin with it
    #[arg(long, default_value = "load")]
    prefix: String,
    /// Print the figures as JSON, with the longest gap of each room and the time of each gap over 250 ms
    #[arg(long)]
    json: bool,
}

/// Runs to the end of the plan, or to Ctrl-C; then prints the figures.
pub(crate) fn run(args: LoadTestArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        (0.0..=1_000.0).contains(&args.messages_per_s) && (0.0..=1_000.0).contains(&args.churn_per_s),
        "--messages-per-s and --churn-per-s are between 0 and 1000"
    );
    let target = Target::new(&args.server.url, key_store(&args.server.keys)?)?;
    let plan = Plan {
        prefix: args.prefix,
        rooms: args.rooms,
        publishers: args.publishers,
        subscribers: args.subscribers,
        audio: !args.no_audio,
        video: !args.no_video,
        messages_per_s: args.messages_per_s,
        ramp: args.ramp,
        duration: args.duration,
        churn_per_s: args.churn_per_s,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.send_replace(true);
            }
        });
        loadtest::run(target, plan, stopped).await
    })?;
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => println!("{report}"),
    }
    anyhow::ensure!(report.joins_failed == 0, "{} joins failed", report.joins_failed);
    Ok(())
}
