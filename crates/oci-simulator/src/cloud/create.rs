//! Creates what a configuration names, at the start or later.

use super::compute::Launch;
use super::kms::{NewKey, Vault};
use super::pools::NewPool;
use super::{Cloud, Now};
use crate::config::{self, Resources};
use crate::ocid;

/// Why a resource cannot be created.
#[derive(thiserror::Error, PartialEq, Eq, Debug)]
pub enum CreateError {
    #[error("{kind} `{name}` exists already; give another name, or delete the first")]
    Exists { kind: &'static str, name: String },
    #[error("no address is left for instance `{0}`; terminate others first, or give a privateIp")]
    NoAddress(String),
    #[error("the address {0} is taken; give instances different privateIps")]
    AddressTaken(std::net::Ipv4Addr),
    #[error("instance `{0}` needs a displayName")]
    NoName(String),
    #[error("the cloud is full: more than {0} instances")]
    Full(usize),
    #[error("function `{0}` needs a command, the program that its container would run")]
    NoCommand(String),
}

/// What was created: kind, display name, OCID.
pub(crate) type Created = Vec<(&'static str, String, String)>;

impl Cloud {
    /// # Errors
    /// At the first resource that cannot be created; those before it stay.
    pub(crate) fn create(&mut self, resources: &Resources, now: Now) -> Result<Created, CreateError> {
        let mut created = Vec::new();
        for bucket in &resources.buckets {
            let compartment = self.compartment_of(&bucket.compartment);
            self.storage.create_bucket(&bucket.name, &compartment, now.unix_ms);
            created.push(("bucket", bucket.name.clone(), bucket.name.clone()));
        }
        for vault in &resources.vaults {
            self.create_vault(vault, now, &mut created)?;
        }
        for balancer in &resources.network_load_balancers {
            let id = self.id_of("networkloadbalancer", &balancer.id, &balancer.display_name);
            if self.balancers.all.contains_key(&id) {
                return Err(exists("network load balancer", &balancer.display_name));
            }
            let compartment = self.compartment_of(&balancer.compartment);
            let active_from = now.cloud + self.settings.after(|delays| delays.balancer_seconds);
            self.balancers.create((id.clone(), compartment), balancer.clone(), now.unix_ms, active_from);
            created.push(("networkLoadBalancer", balancer.display_name.clone(), id));
        }
        for application in &resources.applications {
            self.create_application(application, now, &mut created)?;
        }
        for instance in &resources.instances {
            let id = self.create_instance(instance, now)?;
            created.push(("instance", instance.display_name.clone(), id));
        }
        for pool in &resources.pools {
            let id = self.id_of("instancepool", &pool.id, &pool.display_name);
            if self.pools.all.contains_key(&id) {
                return Err(exists("pool", &pool.display_name));
            }
            let new = NewPool {
                id: id.clone(),
                display_name: pool.display_name.clone(),
                compartment: self.compartment_of(&pool.compartment),
                freeform_tags: pool.freeform_tags.clone(),
                size: pool.size,
                template: pool.instance.clone(),
                autoscaling: pool.autoscaling.clone(),
            };
            self.pools.create(new, now, &self.settings.region_key);
            created.push(("pool", pool.display_name.clone(), id));
        }
        Ok(created)
    }

    fn id_of(&self, kind: &str, given: &str, name: &str) -> String {
        if given.is_empty() { ocid::named(kind, &self.settings.region_key, name) } else { given.into() }
    }

    fn compartment_of(&self, given: &str) -> String {
        if given.is_empty() { self.settings.compartment.clone() } else { given.into() }
    }

    fn create_vault(
        &mut self,
        vault: &config::Vault,
        now: Now,
        created: &mut Created,
    ) -> Result<(), CreateError> {
        let id = self.id_of("vault", &vault.id, &vault.display_name);
        if self.kms.vaults.contains_key(&id) {
            return Err(exists("vault", &vault.display_name));
        }
        let compartment = self.compartment_of(&vault.compartment);
        let wait = self.settings.after(|delays| delays.vault_management_seconds);
        let manageable_from = if vault.is_old { now.cloud } else { now.cloud + wait };
        for key in &vault.keys {
            let key_id = self.id_of("key", &key.id, &format!("{id}/{}", key.display_name));
            let new = NewKey {
                id: key_id.clone(),
                vault: id.clone(),
                compartment: compartment.clone(),
                display_name: key.display_name.clone(),
                algorithm: "AES".into(),
                length: 32,
                protection_mode: "SOFTWARE".into(),
            };
            self.kms.create_key(new, &self.settings.region_key, now.unix_ms, now.cloud);
            created.push(("key", key.display_name.clone(), key_id));
        }
        let vault = Vault {
            id: id.clone(),
            display_name: vault.display_name.clone(),
            compartment,
            created_unix_ms: now.unix_ms,
            manageable_from,
        };
        created.push(("vault", vault.display_name.clone(), id.clone()));
        self.kms.vaults.insert(id, vault);
        Ok(())
    }

    fn create_application(
        &mut self,
        application: &config::Application,
        now: Now,
        created: &mut Created,
    ) -> Result<(), CreateError> {
        let id = self.id_of("fnapp", &application.id, &application.display_name);
        let compartment = self.compartment_of(&application.compartment);
        for function in &application.functions {
            if function.command.is_empty() {
                return Err(CreateError::NoCommand(function.display_name.clone()));
            }
            let function_id = self.id_of("fnfunc", &function.id, &format!("{id}/{}", function.display_name));
            if self.functions.functions.contains_key(&function_id) {
                return Err(exists("function", &function.display_name));
            }
            created.push(("function", function.display_name.clone(), function_id.clone()));
            let function = super::functions::Function {
                id: function_id.clone(),
                application: id.clone(),
                compartment: compartment.clone(),
                config: function.clone(),
                created_unix_ms: now.unix_ms,
            };
            self.functions.functions.insert(function_id, function);
        }
        created.push(("application", application.display_name.clone(), id.clone()));
        let application = super::functions::Application {
            id: id.clone(),
            display_name: application.display_name.clone(),
            compartment,
            config: application.config.clone(),
            created_unix_ms: now.unix_ms,
        };
        self.functions.applications.insert(id, application);
        Ok(())
    }

    fn create_instance(&mut self, machine: &config::Machine, now: Now) -> Result<String, CreateError> {
        if machine.display_name.is_empty() {
            return Err(CreateError::NoName(machine.id.clone()));
        }
        if self.compute.is_full() {
            return Err(CreateError::Full(super::compute::MAX_INSTANCES));
        }
        let mut id = self.id_of("instance", &machine.id, &machine.display_name);
        if let Some(existing) = self.compute.get(&id) {
            if !existing.state.is_gone() || !machine.id.is_empty() {
                return Err(exists("instance", &machine.display_name));
            }
            // A successor of one that was terminated.
            id = ocid::fresh("instance", &self.settings.region_key);
        }
        let private_ip = match machine.private_ip {
            Some(address) => {
                let mut others = self.compute.iter().filter(|instance| !instance.state.is_gone());
                if others.any(|instance| instance.private_ip == address) {
                    return Err(CreateError::AddressTaken(address));
                }
                address
            }
            None => {
                let free = self.compute.free_address(&self.settings);
                free.ok_or_else(|| CreateError::NoAddress(machine.display_name.clone()))?
            }
        };
        let launch = Launch {
            id: id.clone(),
            display_name: machine.display_name.clone(),
            compartment: self.compartment_of(&machine.compartment),
            machine: machine.clone(),
            private_ip,
            pool: None,
        };
        self.compute.launch(launch, now, &self.settings);
        Ok(id)
    }
}

fn exists(kind: &'static str, name: &str) -> CreateError {
    CreateError::Exists { kind, name: name.into() }
}
