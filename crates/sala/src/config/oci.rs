//! `oci:` — what a machine of Oracle Cloud does beside serving. Written by `sala oci boot`.

use std::time::Duration;

use oci::scaling::masters::Pace;
use serde::Deserialize;

use super::load::duration;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Oci {
    /// On masters: takes part in scaling the pool of media nodes. Whether and how it is scaled say the tags of the
    /// instance.
    pub(crate) scaling: bool,
    /// How often one of the masters calls the scale-in function.
    #[serde(deserialize_with = "duration")]
    pub(crate) cycle: Duration,
    /// After that another master may take the lock of one that has crashed.
    #[serde(deserialize_with = "duration")]
    pub(crate) lock_ttl: Duration,
    /// How long a media node outside the pool must be empty or dead until the masters end it.
    #[serde(deserialize_with = "duration")]
    pub(crate) orphan_after: Duration,
    /// An instance younger than that is never held for one that nobody needs.
    #[serde(deserialize_with = "duration")]
    pub(crate) grace: Duration,
    /// After need for more media nodes, none is spared for this long.
    #[serde(deserialize_with = "duration")]
    pub(crate) hold: Duration,
}

impl Default for Oci {
    fn default() -> Self {
        let Pace { cycle, lock_ttl, orphan_after, grace, hold } = Pace::default();
        Oci { scaling: false, cycle, lock_ttl, orphan_after, grace, hold }
    }
}

impl Oci {
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            // A test has less time, and no test has none.
            cycle: self.cycle.max(Duration::from_secs(10)),
            lock_ttl: self.lock_ttl,
            orphan_after: self.orphan_after,
            grace: self.grace,
            hold: self.hold,
        }
    }
}
