//! How many media nodes there are: the lock by which one master at a time asks, the function that decides and ends
//! nodes, scale-out by the masters themselves, and the search for orphans.
//!
//! On the masters [`masters`] drives [`invoker`], [`scale_out`] and [`orphans`]; in the function's container
//! [`fn_server`] hands calls to [`function`], which checks the caller ([`subject`]), gathers facts and lets [`decide`]
//! and [`ending`] judge them. All that is judged is judged without sockets and clocks.

pub mod caller;
pub mod decide;
pub mod ending;
pub mod fn_server;
pub mod function;
pub mod invoker;
pub mod lock;
pub mod masters;
pub mod orphans;
pub mod scale_out;
pub mod subject;
pub mod wire;

/// Free-form tags of machines, and what they say.
pub mod tags {
    /// Name of the stack that a machine is of.
    pub const STACK: &str = "sala-stack";
    /// `master` or [`MEDIA`].
    pub const ROLE: &str = "sala-role";
    pub const MEDIA: &str = "media";
    /// On a media node that was chosen for removal: when, in Unix seconds.
    pub const DRAINING: &str = "sala-draining";
    /// On masters: [`ELASTIC`] or `fixed`.
    pub const MODE: &str = "sala-media-mode";
    pub const ELASTIC: &str = "elastic";
    pub const MAX_NODES: &str = "sala-max-media-nodes";
    pub const TARGET_CPU: &str = "sala-scale-target-cpu";
    /// `on` or `off`.
    pub const SCALE_OUT: &str = "sala-scale-out";
}

/// Name of a stack's instance pool.
pub fn pool_name(stack: &str) -> String {
    format!("{stack}-media-pool")
}

/// Name of a stack's Functions application.
pub fn application_name(stack: &str) -> String {
    format!("{stack}-scalein")
}

/// Name of the function in it.
pub const FUNCTION_NAME: &str = "scalein";
