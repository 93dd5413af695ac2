//! A media node's way: the secrets, the masters, its public address, the configuration.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::api::Api;
use super::error::BootError;
use super::host::{Host, Line, Unit};
use super::identity::MediaIdentity;
use super::progress::Step;
use super::run::Boot;
use super::settings;
use super::wait::{Awaited, Wait};

/// A network interface has its public address when the instance starts; the policy to ask for it may come later.
const PUBLIC_ADDRESS: Duration = Duration::from_secs(5 * 60);

impl<A: Api, H: Host> Boot<'_, A, H> {
    pub(super) async fn media(&mut self, media: &MediaIdentity) -> Result<(), BootError> {
        let set = self.await_secrets().await?;
        self.run.step(Step::Address).await?;
        let public = self.own_public_address().await?;
        self.run.step(Step::Masters).await?;
        let masters = self.current_masters(media).await;
        self.run.step(Step::Settings).await?;
        let files = settings::media(self.host, &self.id, &set, &masters, public);
        self.write_and_start(files, &[Unit::Node, Unit::DrainWatch]).await
    }

    async fn own_public_address(&mut self) -> Result<Option<Ipv4Addr>, BootError> {
        let awaited = Awaited {
            what: "this machine's public address".to_owned(),
            patience: PUBLIC_ADDRESS,
            check: "that the pool's instances get a public IP, and the policy to read VNICs".to_owned(),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        loop {
            match self.api.public_address(&self.id.vnic).await {
                Ok(address) => {
                    if address.is_none() {
                        self.host.say(Line::Warning(format!(
                            "this machine has no public address: clients must reach {}",
                            self.id.private_address
                        )));
                    }
                    wait.over(&mut self.run).await?;
                    return Ok(address);
                }
                Err(error) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    /// The masters' addresses of today: one that was rebuilt may have another than when the pool was made.
    async fn current_masters(&self, media: &MediaIdentity) -> Vec<Ipv4Addr> {
        let mut masters = Vec::new();
        for (number, known) in (1..).zip(&media.masters) {
            let published = self.published_address(number).await.ok().flatten();
            if let Some(published) = published.filter(|published| published != known) {
                let line = format!("master {number} has moved from {known} to {published}");
                self.host.say(Line::Step(line));
            }
            masters.push(published.unwrap_or(*known));
        }
        masters
    }
}
