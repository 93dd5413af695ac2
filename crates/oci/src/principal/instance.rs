//! An instance: its certificate comes from the metadata and is replaced several times a day; its session ends sooner.

use std::sync::Mutex as StdMutex;
use std::time::SystemTime;

use tokio::sync::Mutex;

use super::PrincipalError;
use super::certificate::Leaf;
use super::federation::{Federation, Session};
use super::token::Freshness;
use crate::cloud::Settings;
use crate::endpoints::{Endpoints, Region, Service};
use crate::imds::Imds;
use crate::ocid::Ocid;
use crate::signing::Signer;
use crate::transport::{Budget, HttpClient, Policy};

/// How often certificate and key are read anew because they do not belong together.
const READS: u32 = 3;

pub(super) struct InstancePrincipal {
    imds: Imds,
    region: Region,
    tenancy: Ocid,
    federation: Federation,
    session: StdMutex<Option<Session>>,
    /// Held while a session is made: one at a time.
    renewing: Mutex<()>,
}

impl InstancePrincipal {
    pub(super) async fn new(imds: &Imds, settings: &Settings) -> Result<InstancePrincipal, PrincipalError> {
        let region = region(imds).await?;
        let tenancy = leaf(imds).await?.tenancy().clone();
        let endpoints = Endpoints::new(region.clone(), settings.endpoint.clone());
        let federation = Federation {
            http: HttpClient::new(),
            endpoint: endpoints.of(Service::Auth).clone(),
            // The call that needs the session is itself tried again.
            policy: Policy { max_attempts: 1, ..settings.policy },
            budget: Budget::new(),
        };
        let (session, renewing) = (StdMutex::new(None), Mutex::new(()));
        Ok(InstancePrincipal { imds: imds.clone(), region, tenancy, federation, session, renewing })
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn tenancy(&self) -> &Ocid {
        &self.tenancy
    }

    /// Waits for a new session only if there is none that is good. While one is stale, one caller renews it.
    pub(super) async fn signer(&self) -> Result<Signer, PrincipalError> {
        if let Some((session, freshness)) = self.current() {
            match freshness {
                Freshness::Fresh => return Ok(session.signer),
                Freshness::Stale => {
                    let Ok(_renewing) = self.renewing.try_lock() else {
                        return Ok(session.signer);
                    };
                    return match self.renew().await {
                        Ok(signer) => Ok(signer),
                        Err(error) => {
                            tracing::warn!(%error, "the session with Oracle Cloud is not renewed yet; it still holds");
                            Ok(session.signer)
                        }
                    };
                }
                Freshness::Ended => {}
            }
        }
        let _renewing = self.renewing.lock().await;
        match self.current() {
            Some((session, Freshness::Fresh | Freshness::Stale)) => Ok(session.signer),
            _ => self.renew().await,
        }
    }

    pub(super) async fn renewed(&self, refused: &Signer) -> Result<Signer, PrincipalError> {
        let _renewing = self.renewing.lock().await;
        match self.current() {
            Some((session, Freshness::Fresh)) if !session.signer.is(refused) => Ok(session.signer),
            _ => self.renew().await,
        }
    }

    fn current(&self) -> Option<(Session, Freshness)> {
        let session = self.session.lock().unwrap_or_else(|broken| broken.into_inner()).clone()?;
        let freshness = session.claims.freshness(SystemTime::now());
        Some((session, freshness))
    }

    /// With `renewing` held.
    async fn renew(&self) -> Result<Signer, PrincipalError> {
        let leaf = leaf(&self.imds).await?;
        let session = self.federation.session(&leaf).await?;
        let signer = session.signer.clone();
        *self.session.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(session);
        Ok(signer)
    }
}

async fn region(imds: &Imds) -> Result<Region, PrincipalError> {
    match imds.region_info().await {
        Ok(info) => Ok(Region::from_info(&info)?),
        // Metadata of older hosts tell the name only.
        Err(error) if error.is_not_found() => {
            Ok(Region::named(&imds.instance().await?.canonical_region_name)?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn leaf(imds: &Imds) -> Result<Leaf, PrincipalError> {
    let mut reads = 0;
    loop {
        reads += 1;
        let certificate = imds.identity("cert.pem").await?;
        let key = imds.identity("key.pem").await?;
        let intermediate = imds.identity("intermediate.pem").await?;
        match Leaf::from_pem(&certificate, &key, &intermediate) {
            Err(PrincipalError::Certificate(_)) if reads < READS => {}
            result => return result,
        }
    }
}
