//! The rate at which packets arrive, by the receiver's clock.

/// Arrivals are summed in steps of this length…
const BUCKET_US: i64 = 10_000;
/// …over this window: several frames, and still quick enough for a halved capacity.
const WINDOW_BUCKETS: usize = 50;
/// The short window, for the rate of a path that has just become slower.
const SHORT_BUCKETS: usize = 20;
/// The short window counts only with so many packets in it, and if it is so much slower that frames of
/// different size do not explain it.
const SHORT_PACKETS: u32 = 8;
const SHORT_SLOWER: f64 = 0.75;

/// Sums arrivals in a ring of buckets.
#[derive(Debug)]
pub(super) struct AckedRate {
    bytes: [u32; WINDOW_BUCKETS],
    packets: [u16; WINDOW_BUCKETS],
    /// Number of the newest bucket, and of the first ever since a reset.
    newest: Option<i64>,
    first: i64,
}

impl AckedRate {
    pub(super) fn new() -> AckedRate {
        AckedRate { bytes: [0; WINDOW_BUCKETS], packets: [0; WINDOW_BUCKETS], newest: None, first: 0 }
    }

    pub(super) fn add(&mut self, arrival_us: i64, size: u16) {
        let bucket = arrival_us.div_euclid(BUCKET_US);
        let newest = match self.newest {
            Some(newest) if bucket > newest - WINDOW_BUCKETS as i64 => newest,
            // The first, or the receiver's clock jumped back.
            _ => {
                *self = AckedRate::new();
                self.first = bucket;
                bucket
            }
        };
        for skipped in (newest + 1..=bucket).take(WINDOW_BUCKETS) {
            // With a jump beyond the window any bucket is cleared once.
            let slot = skipped.rem_euclid(WINDOW_BUCKETS as i64) as usize;
            (self.bytes[slot], self.packets[slot]) = (0, 0);
        }
        if bucket - newest > 2 * WINDOW_BUCKETS as i64 {
            // After a pause the rate must not be averaged over the pause.
            self.first = bucket;
        }
        self.newest = Some(newest.max(bucket));
        let slot = bucket.rem_euclid(WINDOW_BUCKETS as i64) as usize;
        self.bytes[slot] = self.bytes[slot].saturating_add(size.into());
        self.packets[slot] = self.packets[slot].saturating_add(1);
    }

    /// Over the whole window; `None` until half of it is seen.
    pub(super) fn bps(&self) -> Option<f64> {
        let newest = self.newest?;
        let seen = (newest - self.first + 1).min(WINDOW_BUCKETS as i64) as usize;
        (seen >= WINDOW_BUCKETS / 2).then(|| self.rate(newest, seen).0)
    }

    /// What a path that is overloaded now delivers: the rate over the whole window, or over the short one if
    /// the path has just become slower.
    pub(super) fn bottleneck_bps(&self) -> Option<f64> {
        let whole = self.bps()?;
        let (short, packets) = self.rate(self.newest?, SHORT_BUCKETS);
        Some(if packets >= SHORT_PACKETS && short < whole * SHORT_SLOWER { short } else { whole })
    }

    fn rate(&self, newest: i64, buckets: usize) -> (f64, u32) {
        let (mut bytes, mut packets) = (0u64, 0u32);
        for bucket in newest + 1 - buckets as i64..=newest {
            let slot = bucket.rem_euclid(WINDOW_BUCKETS as i64) as usize;
            bytes += u64::from(self.bytes[slot]);
            packets += u32::from(self.packets[slot]);
        }
        (bytes as f64 * 8.0 / (buckets as f64 * BUCKET_US as f64 / 1e6), packets)
    }
}
