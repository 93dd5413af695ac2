//! The configuration: one JSON or YAML document that says what exists in the cloud when it starts.
//!
//! The admin API takes the same [`Resources`] to create more while it runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The whole document.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where all services and the instance metadata answer.
    pub listen: SocketAddr,
    /// Where `/sim/…` answers.
    pub admin_listen: SocketAddr,
    /// Home of the machines' file systems, logs and sockets. Keep it short: socket paths have 108 bytes.
    pub state_dir: PathBuf,
    #[serde(default = "default_region")]
    pub region: String,
    #[serde(default = "default_region_key")]
    pub region_key: String,
    pub tenancy: Tenancy,
    #[serde(default)]
    pub compartments: Vec<Compartment>,
    #[serde(default)]
    pub users: Vec<User>,
    #[serde(default)]
    pub time: Time,
    #[serde(default)]
    pub delays: Delays,
    #[serde(default)]
    pub tokens: Tokens,
    /// Items on a page when the client names no limit. Small ones show clients that do not turn pages.
    #[serde(default = "default_page_size")]
    pub page_size: usize,
    /// First three bytes of the instances' addresses, such as `127.20.1`.
    #[serde(default = "default_subnet")]
    pub subnet_prefix: String,
    #[serde(default)]
    pub iam: IamDocument,
    #[serde(default)]
    pub resources: Resources,
}

fn default_region() -> String {
    "eu-frankfurt-1".into()
}

fn default_region_key() -> String {
    "fra".into()
}

fn default_page_size() -> usize {
    50
}

fn default_subnet() -> String {
    "127.20.1".into()
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenancy {
    pub id: String,
    /// Object Storage namespace.
    pub namespace: String,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compartment {
    pub id: String,
    pub name: String,
    /// Blank: the tenancy.
    #[serde(default)]
    pub parent: String,
}

/// Somebody with an API key.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    pub id: String,
    /// As in the user's `~/.oci/config`.
    pub fingerprint: String,
    /// PEM, `-----BEGIN PUBLIC KEY-----`.
    pub public_key: String,
    #[serde(default)]
    pub groups: Vec<String>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Time {
    /// How many seconds of the cloud go into a real one.
    pub scale: f64,
}

impl Default for Time {
    fn default() -> Time {
        Time { scale: 1.0 }
    }
}

/// How long the cloud takes, in its own seconds.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Delays {
    /// From the change of a policy or dynamic group until it counts.
    pub iam_seconds: f64,
    /// From the start of an instance until dynamic groups know it.
    pub membership_seconds: f64,
    /// From the creation of a vault until its management endpoint answers.
    pub vault_management_seconds: f64,
    /// CREATING to ENABLED of a key.
    pub key_seconds: f64,
    /// CREATING or UPDATING to ACTIVE of a secret.
    pub secret_seconds: f64,
    /// From a write of a secret until lists and bundles show it.
    pub secret_visible_seconds: f64,
    /// PROVISIONING to RUNNING of an instance.
    pub provision_seconds: f64,
    /// STOPPING and TERMINATING.
    pub stop_seconds: f64,
    /// How long an ACPI stop may take before the power goes.
    pub soft_stop_seconds: f64,
    /// SCALING of a pool takes at least that.
    pub pool_seconds: f64,
    /// From a minute of CPU until Monitoring shows it.
    pub metrics_lag_seconds: f64,
    /// From a change of tags until the instance's metadata shows it.
    pub imds_tags_seconds: f64,
    /// CREATING to ACTIVE of a network load balancer.
    pub balancer_seconds: f64,
}

impl Default for Delays {
    fn default() -> Delays {
        Delays {
            iam_seconds: 60.0,
            membership_seconds: 30.0,
            vault_management_seconds: 120.0,
            key_seconds: 5.0,
            secret_seconds: 2.0,
            secret_visible_seconds: 1.0,
            provision_seconds: 30.0,
            stop_seconds: 5.0,
            soft_stop_seconds: 900.0,
            pool_seconds: 10.0,
            metrics_lag_seconds: 60.0,
            imds_tags_seconds: 10.0,
            balancer_seconds: 20.0,
        }
    }
}

/// Lifetimes, in real seconds, because clients read them off the token.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tokens {
    pub session_seconds: i64,
    pub certificate_seconds: i64,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens { session_seconds: 1200, certificate_seconds: 7200 }
    }
}

/// Dynamic groups and policies, as text.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IamDocument {
    pub dynamic_groups: Vec<DynamicGroup>,
    pub policies: Vec<Policy>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DynamicGroup {
    pub name: String,
    #[serde(default)]
    pub id: String,
    pub matching_rule: String,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    pub name: String,
    pub statements: Vec<String>,
}

/// What can be created, at the start or later. A blank `id` is made from the name; a blank `compartment` is the first
/// one of the document, or the tenancy.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    pub buckets: Vec<Bucket>,
    pub vaults: Vec<Vault>,
    pub instances: Vec<Machine>,
    pub pools: Vec<Pool>,
    pub applications: Vec<Application>,
    pub network_load_balancers: Vec<Balancer>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bucket {
    pub name: String,
    #[serde(default)]
    pub compartment: String,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vault {
    pub display_name: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub compartment: String,
    /// Existed before: its management endpoint answers at once.
    #[serde(default)]
    pub is_old: bool,
    #[serde(default)]
    pub keys: Vec<Key>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    pub display_name: String,
    #[serde(default)]
    pub id: String,
}

/// An instance, or what a pool makes its instances of.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// Blank in a pool: made from the pool's name.
    #[serde(default)]
    pub display_name: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub compartment: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub freeform_tags: BTreeMap<String, String>,
    #[serde(default)]
    pub defined_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Blank: the next free one.
    pub private_ip: Option<Ipv4Addr>,
    /// Blank: equal to the private one, so that it can be reached.
    pub public_ip: Option<Ipv4Addr>,
    #[serde(default = "default_shape")]
    pub shape: String,
    /// Of this host, for the share that its processes use: 0.5 makes half a processor 100 percent.
    #[serde(default = "default_cpus")]
    pub cpus: f64,
    #[serde(default)]
    pub fault_domain: String,
    /// Run once as the machine's cloud-init. Empty: a machine without processes.
    #[serde(default)]
    pub boot: Vec<String>,
    /// More environment for all of its processes.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

fn default_shape() -> String {
    "VM.Standard.E4.Flex".into()
}

fn default_cpus() -> f64 {
    1.0
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    pub display_name: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub compartment: String,
    #[serde(default)]
    pub freeform_tags: BTreeMap<String, String>,
    pub size: usize,
    /// What an instance is made of.
    pub instance: Machine,
    pub autoscaling: Option<Autoscaling>,
}

/// A threshold rule that only grows the pool.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    #[serde(default = "yes")]
    pub is_enabled: bool,
    pub max: usize,
    /// Percent of CPU, mean over the pool.
    pub threshold: f64,
    /// How long it must stay above.
    #[serde(default = "default_pending")]
    pub pending_seconds: f64,
    /// After a change of size.
    #[serde(default = "default_cool_down")]
    pub cool_down_seconds: f64,
    /// Instances more.
    #[serde(default = "default_step")]
    pub step: usize,
}

fn yes() -> bool {
    true
}

fn default_pending() -> f64 {
    180.0
}

fn default_cool_down() -> f64 {
    300.0
}

fn default_step() -> usize {
    1
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    pub display_name: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub compartment: String,
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    #[serde(default)]
    pub functions: Vec<Function>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    pub display_name: String,
    #[serde(default)]
    pub id: String,
    /// What the container would run.
    pub command: Vec<String>,
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Real seconds: the caller waits.
    #[serde(default = "default_function_timeout")]
    pub timeout_seconds: u64,
    /// Real seconds a container stays warm.
    #[serde(default = "default_function_idle")]
    pub idle_seconds: u64,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

fn default_function_timeout() -> u64 {
    30
}

fn default_function_idle() -> u64 {
    30
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Balancer {
    pub display_name: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub compartment: String,
    /// Its public address.
    pub address: IpAddr,
    /// The OCID of a reserved public IP that it stands for.
    #[serde(default)]
    pub reserved_ip: String,
    pub listeners: Vec<Listener>,
    pub health_check: HealthCheck,
    /// Display names of instances. Those that do not exist yet are backends as soon as they do.
    pub backends: Vec<String>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    pub name: String,
    pub port: u16,
    /// Blank: the same.
    pub backend_port: Option<u16>,
    #[serde(default = "yes")]
    pub is_ppv2_enabled: bool,
}

/// Real milliseconds: it checks real processes.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    pub port: u16,
    /// `TCP` or `HTTP`.
    #[serde(default = "default_protocol")]
    pub protocol: String,
    #[serde(default = "default_url_path")]
    pub url_path: String,
    #[serde(default = "default_interval")]
    pub interval_millis: u64,
    #[serde(default = "default_interval")]
    pub timeout_millis: u64,
    #[serde(default = "default_retries")]
    pub retries: u32,
}

fn default_protocol() -> String {
    "TCP".into()
}

fn default_url_path() -> String {
    "/".into()
}

fn default_interval() -> u64 {
    1000
}

fn default_retries() -> u32 {
    3
}

/// Why a configuration cannot be used.
#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}; give the path of the simulator's configuration with --config")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no valid configuration: {reason}; see the docs of crates/oci-simulator/src/config.rs")]
    Parse { path: PathBuf, reason: String },
}

/// Reads the document.
///
/// # Errors
/// When the file cannot be read, or is not of the form above.
pub fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|reason| ConfigError::Parse { path: path.to_owned(), reason })
}

/// JSON is tried first, for its better error places; YAML otherwise.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}
