//! What a master that scales is told: once by its metadata, and all the time by its tags.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::invoker::{CYCLE, Mode};
use super::super::orphans::ORPHAN_AFTER;
use super::super::scale_out::HOLD;
use super::super::tags;
use crate::services::Bucket;
use crate::{Error, Imds, Ocid};

/// Percent, when no tag says another.
const DEFAULT_TARGET_CPU: f64 = 50.0;

/// How time is divided. Tests have less of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub cycle: Duration,
    pub lock_ttl: Duration,
    pub orphan_after: Duration,
    /// An untagged instance younger than that is left alone.
    pub grace: Duration,
    /// After need for more, no node is spared for this long.
    pub hold: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            cycle: CYCLE,
            lock_ttl: Duration::from_secs(180),
            orphan_after: ORPHAN_AFTER,
            grace: Duration::from_secs(420),
            hold: HOLD,
        }
    }
}

/// Where this master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub stack: String,
    pub compartment: Ocid,
    /// Holds the locks.
    pub bucket: Bucket,
}

/// Metadata that is not as boot needs it, too.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(transparent)]
    Imds(#[from] Error),
    #[error("the instance's metadata has no `{0}`; it is set by Terraform and needed for scaling")]
    Missing(&'static str),
}

impl Place {
    /// From the metadata of this instance.
    pub async fn read(imds: &Imds) -> Result<Place, PlaceError> {
        Place::of(&imds.metadata().await?)
    }

    fn of(metadata: &BTreeMap<String, String>) -> Result<Place, PlaceError> {
        let get = |name: &'static str| match metadata.get(name).map(|value| value.trim()) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(PlaceError::Missing(name)),
        };
        Ok(Place {
            stack: get("stackName")?,
            compartment: Ocid::new(get("compartmentOcid")?),
            bucket: Bucket { namespace: get("objectStorageNamespace")?, name: get("bucketClusterData")? },
        })
    }
}

/// What the operator wants, as the tags of this master say now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wishes {
    pub mode: Mode,
    /// `None`: it is not known, so nothing is added.
    pub max_nodes: Option<usize>,
    /// Percent.
    pub target_cpu: f64,
    pub scale_out: bool,
}

impl Wishes {
    /// Reads the tags. Without a mode nothing is done.
    pub fn of(read: &BTreeMap<String, String>) -> Wishes {
        let get = |name: &str| read.get(name).map(|value| value.trim());
        let elastic = get(tags::MODE).is_some_and(|mode| mode.eq_ignore_ascii_case(tags::ELASTIC));
        let target = get(tags::TARGET_CPU).and_then(|value| value.parse::<f64>().ok());
        Wishes {
            mode: if elastic { Mode::Elastic } else { Mode::Fixed },
            max_nodes: get(tags::MAX_NODES).and_then(|value| value.parse().ok()),
            target_cpu: target.filter(|cpu| (1.0..=100.0).contains(cpu)).unwrap_or(DEFAULT_TARGET_CPU),
            scale_out: !get(tags::SCALE_OUT).is_some_and(|value| value.eq_ignore_ascii_case("off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tags_say_what_the_operator_wants() {
        let all = map(&[
            ("sala-media-mode", "elastic"),
            ("sala-max-media-nodes", "5"),
            ("sala-scale-target-cpu", "70"),
            ("sala-scale-out", "off"),
        ]);
        assert_eq!(
            Wishes::of(&all),
            Wishes { mode: Mode::Elastic, max_nodes: Some(5), target_cpu: 70.0, scale_out: false }
        );
        let none = Wishes::of(&map(&[]));
        assert_eq!(none, Wishes { mode: Mode::Fixed, max_nodes: None, target_cpu: 50.0, scale_out: true });
        let odd =
            map(&[("sala-media-mode", "x"), ("sala-max-media-nodes", "-5"), ("sala-scale-target-cpu", "0")]);
        assert_eq!(Wishes::of(&odd), none);
    }

    #[test]
    fn a_missing_part_of_the_metadata_is_named() {
        let metadata = map(&[
            ("stackName", "prod"),
            ("compartmentOcid", "ocid1.compartment.c"),
            ("objectStorageNamespace", "ns"),
            ("bucketClusterData", " "),
        ]);
        assert!(Place::of(&metadata).unwrap_err().to_string().contains("bucketClusterData"));
    }
}
