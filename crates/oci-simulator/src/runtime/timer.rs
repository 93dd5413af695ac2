//! What happens by itself: time passes, processors are looked at.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Shared;

/// How often the cloud's time passes when nobody asks.
const TICK: Duration = Duration::from_millis(50);
/// How often processors are looked at.
const SAMPLE: Duration = Duration::from_millis(500);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampled = shared.elapsed();
    loop {
        ticks.tick().await;
        let elapsed = shared.elapsed() - sampled;
        if elapsed >= SAMPLE {
            sampled += elapsed;
            let used = shared.machines.used();
            let (mut cloud, _) = shared.cloud();
            for (instance, seconds) in used {
                cloud.metrics.feed(&instance, seconds, elapsed.as_secs_f64());
            }
        }
        shared.act();
    }
}
