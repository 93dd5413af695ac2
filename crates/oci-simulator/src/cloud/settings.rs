//! What does not change while the cloud runs, but for the delays.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::seconds;
use super::secrets::Pace;
use crate::config::{Config, Delays, Tenancy, Tokens};

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `http://address:port`, where everything answers.
    pub(crate) base_url: String,
    pub(crate) region: String,
    pub(crate) region_key: String,
    pub(crate) tenancy: Tenancy,
    /// Of resources that name none.
    pub(crate) compartment: String,
    pub(crate) delays: Delays,
    pub(crate) tokens: Tokens,
    pub(crate) page_size: usize,
    /// First three bytes of instances' addresses.
    subnet: [u8; 3],
}

impl Settings {
    pub(super) fn new(config: &Config) -> Settings {
        let first = config.compartments.first().map(|compartment| compartment.id.clone());
        let mut subnet = [127, 20, 1];
        let bytes: Vec<u8> = config.subnet_prefix.split('.').filter_map(|part| part.parse().ok()).collect();
        if let Ok(bytes) = bytes.try_into() {
            subnet = bytes;
        }
        Settings {
            base_url: format!("http://{}", config.listen),
            region: config.region.clone(),
            region_key: config.region_key.clone(),
            tenancy: config.tenancy.clone(),
            compartment: first.unwrap_or_else(|| config.tenancy.id.clone()),
            delays: config.delays.clone(),
            tokens: config.tokens.clone(),
            page_size: config.page_size,
            subnet,
        }
    }

    /// A delay.
    pub(crate) fn after(&self, delay: impl Fn(&Delays) -> f64) -> Duration {
        seconds(delay(&self.delays))
    }

    pub(crate) fn secret_pace(&self) -> Pace {
        let working = self.after(|delays| delays.secret_seconds);
        Pace { working, visible: self.after(|delays| delays.secret_visible_seconds) }
    }

    /// Addresses for instances.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let [a, b, c] = self.subnet;
        (10..250).map(move |d| Ipv4Addr::new(a, b, c, d))
    }
}
