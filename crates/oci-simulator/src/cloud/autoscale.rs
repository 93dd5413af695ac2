//! The pool's own threshold rule: more instances when their mean CPU stays above a threshold. It never takes any away.

use std::time::Duration;

use super::{Cloud, Now, seconds};

/// How often a rule looks.
const EVERY: Duration = Duration::from_secs(60);

/// What a rule remembers.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Rule {
    looked: Duration,
    /// Above the threshold since.
    above_since: Option<Duration>,
    pub(crate) last_change: Option<Duration>,
}

impl Cloud {
    pub(super) fn autoscale(&mut self, now: Now) {
        let until = now.cloud + self.settings.after(|delays| delays.pool_seconds);
        let lag = self.settings.after(|delays| delays.metrics_lag_seconds);
        for pool in self.pools.all.values_mut() {
            let Some(scaling) = pool.autoscaling.clone().filter(|scaling| scaling.is_enabled) else {
                continue;
            };
            if now.cloud < pool.rule.looked + EVERY {
                continue;
            }
            pool.rule.looked = now.cloud;
            let known =
                pool.members.iter().filter_map(|member| self.metrics.latest_cpu(member, now.cloud, lag));
            let known: Vec<f64> = known.collect();
            let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
            if known.is_empty() || mean <= scaling.threshold {
                pool.rule.above_since = None;
                continue;
            }
            let since = *pool.rule.above_since.get_or_insert(now.cloud);
            let is_pending = now.cloud < since + seconds(scaling.pending_seconds);
            let cool_down = seconds(scaling.cool_down_seconds);
            let is_cooling = pool.rule.last_change.is_some_and(|last| now.cloud < last + cool_down);
            if is_pending || is_cooling || pool.must_be_running().is_err() || pool.size >= scaling.max {
                continue;
            }
            tracing::info!(pool = pool.display_name, mean, "the pool's own rule grows it");
            pool.resize((pool.size + scaling.step).min(scaling.max), until);
            pool.rule.last_change = Some(now.cloud);
            pool.rule.above_since = None;
        }
    }
}
