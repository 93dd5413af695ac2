//! Who a request comes from, once its signature is found good.

use serde::Serialize;

/// An authenticated caller.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "camelCase", tag = "type")]
pub(crate) enum Principal {
    User {
        id: String,
        groups: Vec<String>,
    },
    Instance {
        id: String,
    },
    /// A function, by its resource principal token.
    Resource {
        id: String,
        kind: String,
        compartment: String,
    },
}

impl Principal {
    pub(crate) fn id(&self) -> &str {
        match self {
            Principal::User { id, .. } | Principal::Instance { id } | Principal::Resource { id, .. } => id,
        }
    }

    /// As in the header `oci-subject-type`.
    pub(crate) fn subject_type(&self) -> &'static str {
        match self {
            Principal::User { .. } => "user",
            Principal::Instance { .. } => "instance",
            Principal::Resource { .. } => "resource",
        }
    }
}
