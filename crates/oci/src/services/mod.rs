//! Typed clients for what the deployment uses, one per service. Methods are named after what they do; each sends the
//! operation of Oracle's API reference that its error names.

mod compute;
mod functions;
mod kms;
mod monitoring;
mod network_load_balancer;
mod object_storage;
mod pools;
mod secret_value;
mod secrets;
mod state;
mod versioned;

pub use compute::{
    Addresses, Compute, Instance, InstanceState, Terminate, Vnic, VnicAttachment, VnicAttachmentState,
};
pub use functions::{Application, Function, FunctionState, Functions, Invocation};
pub use kms::{Key, KeyState, Kms, NewKey, Protection, Vault, VaultState};
pub use monitoring::{MetricQuery, Monitoring, NewMetric, Point, Posted, Series};
pub use network_load_balancer::{BalancerAddress, BalancerState, NetworkLoadBalancer, NetworkLoadBalancers};
pub use object_storage::{Bucket, Condition, Object, ObjectStorage, ObjectSummary};
pub use pools::{Detach, InstancePool, InstancePools, Member, PoolState};
pub use secret_value::SecretValue;
pub use secrets::{NewSecret, Secret, SecretBundle, SecretState, SecretVersion, Secrets};
pub use versioned::{Etag, Versioned};
