//! The function's configuration: environment variables that Terraform sets.

use std::str::FromStr;
use std::time::Duration;

use super::super::decide::Policy;
use crate::Ocid;

/// What the function is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub stack: String,
    pub compartment: Ocid,
    /// Otherwise the pool is found by its name.
    pub pool: Option<Ocid>,
    pub policy: Policy,
    /// CPU is the mean of this.
    pub window: Duration,
    /// Who may ask for more than its own end.
    pub masters: Vec<Ocid>,
}

/// A variable that is missing or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    #[error("the function's configuration has no {0}; Terraform sets it: run `terraform apply`")]
    Missing(&'static str),
    #[error("{name} of the function's configuration is {value:?}; expected {expected}")]
    Invalid { name: &'static str, value: String, expected: &'static str },
}

impl Settings {
    /// Reads them with `get`, which gives a variable's value.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Settings, BadSettings> {
        let text = |name: &'static str| {
            get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let needed = |name| text(name).ok_or(BadSettings::Missing(name));
        let target_cpu = number(text, "SCALE_TARGET_CPU", 50.0, 1.0..=100.0, "a percentage from 1 to 100")?;
        let min_nodes = number(text, "MIN_MEDIA_NODES", 1, 0..=500, "a number of nodes from 0 to 500")?;
        let grace = number(text, "GRACE_SECONDS", 420, 0..=86_400, "seconds, up to a day")?;
        let window = number(text, "METRIC_WINDOW_SECONDS", 300, 1..=3_600, "seconds, up to an hour")?;
        let masters = text("MASTER_INSTANCE_OCIDS").unwrap_or_default();
        let masters = masters.split(',').map(str::trim).filter(|id| !id.is_empty());
        Ok(Settings {
            stack: needed("STACK_NAME")?,
            compartment: ocid("COMPARTMENT_OCID", needed("COMPARTMENT_OCID")?)?,
            pool: text("POOL_OCID").map(|value| ocid("POOL_OCID", value)).transpose()?,
            policy: Policy { min_nodes, target_cpu, grace: Duration::from_secs(grace) },
            window: Duration::from_secs(window),
            masters: masters
                .map(|id| ocid("MASTER_INSTANCE_OCIDS", id.to_owned()))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn ocid(name: &'static str, value: String) -> Result<Ocid, BadSettings> {
    value.parse().map_err(|_| BadSettings::Invalid { name, value, expected: "an OCID such as ocid1.…" })
}

fn number<T: FromStr + PartialOrd>(
    text: impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    default: T,
    range: std::ops::RangeInclusive<T>,
    expected: &'static str,
) -> Result<T, BadSettings> {
    let Some(value) = text(name) else { return Ok(default) };
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(BadSettings::Invalid { name, value, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, BadSettings> {
        let all = [("STACK_NAME", "prod"), ("COMPARTMENT_OCID", "ocid1.compartment.oc1..c")];
        let get = |name: &str| {
            let pairs = pairs.iter().chain(&all);
            pairs.clone().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::read(get)
    }

    #[test]
    fn the_defaults_are_those_of_the_guide() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.policy,
            Policy { min_nodes: 1, target_cpu: 50.0, grace: Duration::from_secs(420) }
        );
        assert_eq!((settings.window, settings.masters.len()), (Duration::from_secs(300), 0));
        let settings = read(&[
            ("MASTER_INSTANCE_OCIDS", "ocid1.instance.a, ocid1.instance.b,"),
            ("POOL_OCID", " "),
            ("SCALE_TARGET_CPU", "62.5"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.masters, [Ocid::new("ocid1.instance.a"), Ocid::new("ocid1.instance.b")]);
        assert_eq!((settings.pool, settings.policy.target_cpu), (None, 62.5));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (name, value) in [
            ("COMPARTMENT_OCID", "mine"),
            ("MASTER_INSTANCE_OCIDS", "ocid1.instance.a;ocid1.instance.b"),
            ("MIN_MEDIA_NODES", "-1"),
            ("SCALE_TARGET_CPU", "0"),
            ("SCALE_TARGET_CPU", "NaN"),
            ("GRACE_SECONDS", "7 min"),
            ("METRIC_WINDOW_SECONDS", "0"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(read(&[("STACK_NAME", "")]), Err(BadSettings::Missing("STACK_NAME")));
    }
}
