//! The cloud's side of a simulation.

use std::net::{IpAddr, Ipv4Addr};

use auth::Secret;
use oci::boot::{
    Api, ApiError, ETag, Expected, Facts, Key, Object, Place, SecretHead, SecretValue, Vault, Version,
};

use crate::world::{State, World};

pub(crate) struct SimApi {
    pub(crate) world: World,
    pub(crate) machine: usize,
}

impl State {
    /// Policies must have arrived.
    fn allowed(&self, now: u64) -> Result<(), ApiError> {
        match now >= self.policies_ms {
            true => Ok(()),
            false => Err(ApiError::Denied("404 NotAuthorizedOrNotFound".to_owned())),
        }
    }

    fn endpoint(&self, now: u64) -> Result<(), ApiError> {
        self.allowed(now)?;
        match now >= self.endpoint_ms {
            true => Ok(()),
            false => {
                Err(ApiError::Unavailable("no connection to v-management.kms: name not known".to_owned()))
            }
        }
    }

    fn lag(&mut self) -> u64 {
        self.rng.u64(0..=self.faults.lag_ms)
    }
}

impl Api for SimApi {
    async fn facts(&self) -> Result<Facts, ApiError> {
        let number = self.machine;
        self.world.call(number, |state, _| Ok(state.machines[&number].facts.clone())).await
    }

    async fn public_address(&self, _: &str) -> Result<Option<Ipv4Addr>, ApiError> {
        let number = self.machine as u8;
        let address = Ipv4Addr::new(203, 0, 113, number);
        self.world.call(self.machine, |state, now| state.allowed(now).map(|()| Some(address))).await
    }

    async fn balancer_address(&self, _: &str) -> Result<Option<IpAddr>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                Ok((now >= state.balancer_ms).then(|| Ipv4Addr::new(203, 0, 113, 7).into()))
            })
            .await
    }

    async fn object(&self, _: &Place, name: &str) -> Result<Option<Object>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                let found = state.objects.get(name);
                Ok(found.map(|(body, etag)| Object { body: body.clone(), etag: ETag(etag.to_string()) }))
            })
            .await
    }

    async fn put_object(
        &self,
        _: &Place,
        name: &str,
        body: &[u8],
        expected: Expected<'_>,
    ) -> Result<Option<ETag>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                let there = state.objects.get(name).map(|(_, etag)| etag.to_string());
                let fits = match expected {
                    Expected::Absent => there.is_none(),
                    Expected::At(etag) => there.as_ref() == Some(&etag.0),
                };
                if !fits {
                    return Ok(None);
                }
                let etag = state.next_serial();
                state.objects.insert(name.to_owned(), (body.to_vec(), etag));
                Ok(Some(ETag(etag.to_string())))
            })
            .await
    }

    async fn vault(&self, _: &Place) -> Result<Vault, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                Ok(Vault {
                    id: "ocid1.vault.oc1..v".to_owned(),
                    compartment: "ocid1.compartment.oc1..c".to_owned(),
                    management_endpoint: "v-management.kms".to_owned(),
                    state: if now >= state.vault_ms { "ACTIVE" } else { "CREATING" }.to_owned(),
                })
            })
            .await
    }

    async fn keys(&self, _: &Vault, name: &str) -> Result<Vec<Key>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.endpoint(now)?;
                let lag = state.lag();
                let named = state.keys.iter().filter(|(_, of, _)| of == name);
                let seen = named.filter(|(_, _, made)| made + lag <= now);
                let view = |(key, _, made): &(Key, String, u64)| {
                    let enabled = now >= made + 10_000;
                    Key { state: if enabled { "ENABLED" } else { "CREATING" }.to_owned(), ..key.clone() }
                };
                Ok(seen.map(view).collect())
            })
            .await
    }

    async fn create_key(&self, _: &Vault, name: &str) -> Result<Key, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.endpoint(now)?;
                let serial = state.next_serial();
                let key = Key {
                    id: format!("ocid1.key.oc1..{serial}"),
                    state: "CREATING".to_owned(),
                    created: format!("{now:020}"),
                };
                state.keys.push((key.clone(), name.to_owned(), now));
                Ok(key)
            })
            .await
    }

    async fn find_secret(&self, _: &Place, name: &str) -> Result<Option<SecretHead>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                Ok(state.vault.find(name, now))
            })
            .await
    }

    async fn create_secret(&self, _: &Place, key: &str, name: &str, value: &Secret) -> Result<u64, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                assert!(state.keys.iter().any(|(there, _, _)| there.id == key), "a key that is not there");
                state.vault.create(name, value.reveal(), now)
            })
            .await
    }

    async fn update_secret(&self, id: &str, etag: &ETag, value: &Secret) -> Result<u64, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                state.vault.update(id, etag, value.reveal(), now)
            })
            .await
    }

    async fn cancel_secret_deletion(&self, id: &str) -> Result<(), ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                let takes = state.rng.u64(1_000..60_000);
                state.vault.cancel_deletion(id, now, takes)
            })
            .await
    }

    async fn secret_versions(&self, id: &str) -> Result<Vec<Version>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                Ok(state.vault.versions(id))
            })
            .await
    }

    async fn delete_secret_version(&self, id: &str, number: u64) -> Result<(), ApiError> {
        self.world
            .call(self.machine, |state, now| {
                state.allowed(now)?;
                state.vault.delete_version(id, number)
            })
            .await
    }

    async fn read_secret(&self, _: &Place, name: &str) -> Result<Option<SecretValue>, ApiError> {
        self.world
            .call(self.machine, |state, now| {
                // What one may not read looks like what is not there.
                if state.allowed(now).is_err() {
                    return Ok(None);
                }
                let lag = state.lag();
                Ok(state.vault.read(name, now, lag))
            })
            .await
    }
}
