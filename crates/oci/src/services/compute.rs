//! Compute instances and their network interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;

use super::state::states;
use super::{Etag, Versioned};
use crate::endpoints::Service;
use crate::error::{Error, Failure};
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};
use crate::wire_time;

/// How often a change of tags that others changed meanwhile is tried anew.
const TAG_RACES: u32 = 5;

/// Instances of the principal's region.
#[derive(Clone)]
pub struct Compute {
    api: Api,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub id: Ocid,
    #[serde(default)]
    pub display_name: String,
    pub compartment_id: Ocid,
    pub lifecycle_state: InstanceState,
    #[serde(with = "wire_time::required")]
    pub time_created: SystemTime,
    #[serde(default)]
    pub availability_domain: String,
    #[serde(default)]
    pub fault_domain: Option<String>,
    #[serde(default)]
    pub shape: String,
    #[serde(default)]
    pub freeform_tags: BTreeMap<String, String>,
}

states! {
    InstanceState {
        Moving = "MOVING",
        Provisioning = "PROVISIONING",
        Running = "RUNNING",
        Starting = "STARTING",
        Stopping = "STOPPING",
        Stopped = "STOPPED",
        CreatingImage = "CREATING_IMAGE",
        Terminating = "TERMINATING",
        Terminated = "TERMINATED",
    }
}

impl InstanceState {
    /// Whether it is gone or going, for good.
    pub fn is_ended(self) -> bool {
        matches!(self, InstanceState::Terminating | InstanceState::Terminated)
    }
}

/// What ending an instance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminate {
    /// It ends now.
    Ending,
    /// It had ended, or was ending, before.
    Already,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VnicAttachment {
    pub instance_id: Ocid,
    #[serde(default)]
    pub vnic_id: Option<Ocid>,
    pub lifecycle_state: VnicAttachmentState,
}

states! {
    VnicAttachmentState {
        Attaching = "ATTACHING",
        Attached = "ATTACHED",
        Detaching = "DETACHING",
        Detached = "DETACHED",
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vnic {
    pub id: Ocid,
    #[serde(default)]
    pub is_primary: bool,
    #[serde(default)]
    pub private_ip: Option<IpAddr>,
    #[serde(default)]
    pub public_ip: Option<IpAddr>,
    #[serde(default)]
    pub hostname_label: Option<String>,
}

/// Addresses of an instance's primary interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub private: IpAddr,
    pub public: Option<IpAddr>,
}

impl Compute {
    pub(crate) fn new(api: Api) -> Compute {
        Compute { api }
    }

    /// Ended instances are found for about two hours more.
    pub async fn instance(&self, id: &Ocid) -> Result<Versioned<Instance>, Error> {
        self.api.versioned(Call::get("GetInstance", Service::Core, instance(id))).await
    }

    /// Of a compartment: all, or those of one display name or state.
    pub async fn instances(
        &self,
        compartment: &Ocid,
        display_name: Option<&str>,
        state: Option<InstanceState>,
    ) -> Result<Vec<Instance>, Error> {
        let call = Call::get("ListInstances", Service::Core, path(["20160918", "instances"]))
            .query("compartmentId", compartment)
            .query_if("displayName", display_name)
            .query_if("lifecycleState", state.map(InstanceState::as_str));
        self.api.list(call).await
    }

    /// Sets one free-form tag and keeps the others, also those that somebody else sets at the same time.
    pub async fn set_tag(&self, id: &Ocid, key: &str, value: &str) -> Result<Instance, Error> {
        self.change_tags(id, |tags| tags.insert(key.to_owned(), value.to_owned()).as_deref() != Some(value))
            .await
    }

    pub async fn remove_tag(&self, id: &Ocid, key: &str) -> Result<Instance, Error> {
        self.change_tags(id, |tags| tags.remove(key).is_some()).await
    }

    /// `change` says whether it changed anything.
    async fn change_tags(
        &self,
        id: &Ocid,
        change: impl Fn(&mut BTreeMap<String, String>) -> bool,
    ) -> Result<Instance, Error> {
        let mut races = 0;
        loop {
            let before = self.instance(id).await?;
            let mut tags = before.freeform_tags.clone();
            if !change(&mut tags) {
                return Ok(before.value);
            }
            let call = Call::put("UpdateInstance", Service::Core, instance(id))
                .json(&json!({ "freeformTags": tags }))
                .if_match(before.etag.as_ref().map(Etag::as_str));
            match self.api.json(call).await {
                Err(error) if error.is_precondition_failed() && races < TAG_RACES => races += 1,
                result => return result,
            }
        }
    }

    /// Ends the instance for good, with its boot volume.
    pub async fn terminate(&self, id: &Ocid) -> Result<Terminate, Error> {
        let call = Call::delete("TerminateInstance", Service::Core, instance(id))
            .query("preserveBootVolume", "false");
        match self.api.send(call).await {
            Ok(_) => Ok(Terminate::Ending),
            Err(error) if error.is_not_found() || error.is_incorrect_state() => {
                // What is hidden from us is no success: only a state that we read is.
                match self.instance(id).await {
                    Ok(instance) if instance.lifecycle_state.is_ended() => Ok(Terminate::Already),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub async fn vnic_attachments(
        &self,
        compartment: &Ocid,
        instance: &Ocid,
    ) -> Result<Vec<VnicAttachment>, Error> {
        let call = Call::get("ListVnicAttachments", Service::Core, path(["20160918", "vnicAttachments"]))
            .query("compartmentId", compartment)
            .query("instanceId", instance);
        self.api.list(call).await
    }

    pub async fn vnic(&self, id: &Ocid) -> Result<Vnic, Error> {
        self.api.json(Call::get("GetVnic", Service::Core, path(["20160918", "vnics", id]))).await
    }

    /// The addresses by which others reach the instance; none while its interface is not attached.
    pub async fn addresses(&self, compartment: &Ocid, instance: &Ocid) -> Result<Option<Addresses>, Error> {
        for attachment in self.vnic_attachments(compartment, instance).await? {
            let (VnicAttachmentState::Attached, Some(vnic)) =
                (attachment.lifecycle_state, attachment.vnic_id)
            else {
                continue;
            };
            let vnic = self.vnic(&vnic).await?;
            if vnic.is_primary {
                let private = vnic.private_ip.ok_or_else(|| {
                    let cause = format!("the primary interface {} has no private address", vnic.id);
                    Error::new("GetVnic", Failure::BadAnswer { cause })
                })?;
                return Ok(Some(Addresses { private, public: vnic.public_ip }));
            }
        }
        Ok(None)
    }
}

fn instance(id: &Ocid) -> String {
    path(["20160918", "instances", id])
}
