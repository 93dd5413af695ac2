//! The cloud's state, without sockets, processes or clocks of its own: time comes in, and what must happen outside
//! (start a machine, stop one) goes out as [`Effect`]s.

pub(crate) mod autoscale;
pub(crate) mod balancers;
pub(crate) mod calendar;
pub(crate) mod clock;
pub(crate) mod compute;
mod create;
pub(crate) mod functions;
pub(crate) mod kms;
pub(crate) mod metrics;
pub(crate) mod pools;
pub(crate) mod query;
mod retries;
pub(crate) mod secrets;
mod settings;
pub(crate) mod storage;

pub(crate) use clock::{Clock, Now};
pub use create::CreateError;
pub(crate) use settings::Settings;

use std::time::Duration;

use crate::api::Refusal;
use crate::auth::{Authority, Principal};
use crate::calls::Calls;
use crate::config::{Config, User};
use crate::faults::Faults;
use crate::iam::{Iam, IamError};

/// What the cloud wants done outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Power on: start the machine's supervisor, for the first time or again.
    PowerOn(String),
    /// ACPI: ask it to shut down.
    PressButton(String),
    /// Power off: end all of its processes at once.
    PowerOff(String),
    /// Open a load balancer's listeners.
    OpenBalancer(String),
}

/// Everything.
pub(crate) struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) authority: Authority,
    pub(crate) users: Vec<User>,
    pub(crate) iam: Iam,
    pub(crate) storage: storage::ObjectStorage,
    pub(crate) kms: kms::Kms,
    pub(crate) secrets: secrets::Secrets,
    pub(crate) compute: compute::Compute,
    pub(crate) pools: pools::Pools,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) functions: functions::Functions,
    pub(crate) balancers: balancers::Balancers,
    pub(crate) retries: retries::Retries,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    effects: Vec<Effect>,
}

/// Why there is no cloud.
#[derive(thiserror::Error, Debug)]
pub enum StartError {
    #[error(transparent)]
    Key(#[from] crate::auth::KeyError),
    #[error("iam: {0}; write the statement as in Oracle's policy reference")]
    Iam(#[from] IamError),
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl Cloud {
    /// As the configuration says.
    ///
    /// # Errors
    /// When a statement cannot be understood, or two resources contradict each other.
    pub(crate) fn new(config: &Config, now: Now) -> Result<Cloud, StartError> {
        let settings = Settings::new(config);
        let mut iam = Iam::new(&config.tenancy.id, &config.compartments);
        iam.replace(&config.iam, now.cloud, settings.after(|delays| delays.iam_seconds))?;
        let mut cloud = Cloud {
            authority: Authority::new(now.unix())?,
            clock: Clock::new(config.time.scale),
            users: config.users.clone(),
            iam,
            storage: storage::ObjectStorage::default(),
            kms: kms::Kms::default(),
            secrets: secrets::Secrets::default(),
            compute: compute::Compute::default(),
            pools: pools::Pools::default(),
            metrics: metrics::Metrics::default(),
            functions: functions::Functions::default(),
            balancers: balancers::Balancers::default(),
            retries: retries::Retries::default(),
            faults: Faults::default(),
            calls: Calls::default(),
            effects: Vec::new(),
            settings,
        };
        cloud.create(&config.resources, now)?;
        Ok(cloud)
    }

    /// Lets time pass up to now.
    pub(crate) fn tick(&mut self, now: Now) {
        self.sample_minute(now.cloud);
        self.secrets.tick(now.cloud);
        self.compute.tick(now, &mut self.effects);
        self.autoscale(now);
        self.tick_pools(now);
        self.tick_balancers(now.cloud);
    }

    /// What is to be done outside since last asked.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// # Errors
    /// As [`compute::Compute::act`].
    pub(crate) fn act(&mut self, instance: &str, action: compute::Action, now: Now) -> Result<(), Refusal> {
        self.compute.act(instance, action, now, &self.settings, &mut self.effects)
    }

    /// # Errors
    /// As [`compute::Compute::terminate`].
    pub(crate) fn terminate(&mut self, instance: &str, now: Now) -> Result<(), Refusal> {
        self.compute.terminate(instance, now, &self.settings, &mut self.effects)
    }

    /// What matching rules of dynamic groups can ask of a caller.
    pub(crate) fn facts(&self, principal: &Principal, now: Now) -> Vec<(String, String)> {
        match principal {
            Principal::User { .. } => Vec::new(),
            Principal::Resource { id, kind, compartment } => vec![
                ("resource.type".into(), kind.clone()),
                ("resource.id".into(), id.clone()),
                ("resource.compartment.id".into(), compartment.clone()),
            ],
            Principal::Instance { id } => {
                let known_after = self.settings.after(|delays| delays.membership_seconds);
                let Some(instance) = self.compute.get(id) else { return Vec::new() };
                if now.cloud < instance.created + known_after {
                    return Vec::new();
                }
                let mut facts = vec![
                    ("instance.id".into(), id.clone()),
                    ("instance.compartment.id".into(), instance.compartment.clone()),
                ];
                for (namespace, tags) in &instance.defined_tags {
                    let tag = |(key, value): (&String, &String)| {
                        (format!("tag.{namespace}.{key}.value"), value.clone())
                    };
                    facts.extend(tags.iter().map(tag));
                }
                facts
            }
        }
    }
}

/// Seconds of a configuration, none negative or endless.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::from_secs(u64::from(u32::MAX)))
}
