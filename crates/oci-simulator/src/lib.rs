//! Oracle Cloud's APIs answered truthfully on one host, for tests; part of the testkit, never a dependency of a product
//! crate, and independent of `crates/oci`, whose requests it checks.
//!
//! `oci-simulator serve --config FILE` runs a cloud until SIGTERM. The configuration ([`config::Config`], JSON or YAML)
//! says what exists when it starts. Oracle's own Python SDK and `oci` command run against it (`e2e/oci/tests`).
//!
//! # What it does
//! - **Signatures**: draft-cavage, RSA-SHA256; date within 5 minutes, digest of the body, key known. API keys of users,
//!   session tokens of instances (`POST /v1/x509` with the certificate of the metadata) and of functions.
//! - **Instance metadata**, a secret address for each instance: `imdsUrl` in `/sim/state`.
//! - **IAM**: dynamic groups and policy statements as text, evaluated for each request with the permissions of Oracle's
//!   policy reference; a denial is the same 404 as what is not there. Changes count after a delay.
//! - **Object Storage** with conditional writes; **KMS** whose management endpoint does not answer at first; **Vault
//!   secrets** with versions, stages, pending deletion; **Compute**; **instance pools** with their threshold rule;
//!   **Monitoring**; **Functions** by the Fn contract; **network load balancers** with real sockets.
//! - **Machines are processes.** An instance with a `boot` command gets a supervisor that plays its init ([`machine`]):
//!   the boot command runs once, as cloud-init would, and finds in its environment `SALA_ROOT` (its file system),
//!   `SALA_OCI_METADATA_URL`, `OCI_METADATA_BASE_URL`, `SALA_OCI_ENDPOINT`, and on its `PATH` a `systemctl` and a
//!   `journalctl`. `{root}`, `{privateIp}` and `{name}` in the command are replaced. A termination ends all of its
//!   processes at once; an ACPI stop stops its units first.
//! - Whatever is not simulated is answered with 501 and a sentence.
//!
//! # Time
//! The cloud's delays, metrics and rules go by its own time, which runs `time.scale` times as fast as real time and can
//! be moved forward. Dates that clients see are real, so that signatures and tokens work; Monitoring maps the last five
//! minutes of a client to the last five minutes of the cloud. Timeouts of functions, health checks, tokens and
//! services on machines are real seconds.
//!
//! # Admin API
//! JSON on `adminListen`. `{instance}` is a display name or an OCID, `{pool}` likewise.
//!
//! | request | does |
//! |---|---|
//! | `GET /sim/state` | everything: `instances` (`state`, `power` on/off/dead, `root`, `imdsUrl`, `privateIp`, `cpu`), `pools`, `networkLoadBalancers` (`healthy`), `vaults`, `keys`, `secrets`, `buckets`, `calls` (counts), `lastCall` |
//! | `GET /sim/calls?operation=&caller=&since=&limit=` | the log: `n`, `operation`, `caller` (display name), `status` (null without an answer), `error`, `fault`; `counts` per operation |
//! | `DELETE /sim/calls` | empties log and counts |
//! | `POST /sim/faults` | `{"operation": "PutObject" or "*", "caller": part of a name, "path": part, "skip": n, "times": n, "probability": p, "fault": …}`, gives `{"id"}` |
//! | | `fault`: `{"kind": "error", "status": 429, "code"?, "message"?, "retryAfterSeconds"?}`, `{"kind": "delay", "millis"}`, `{"kind": "drop", "isDone"?}` (lost request, or lost answer), `{"kind": "hang"}`, `{"kind": "killCaller", "isDone"?}` (the calling machine dies before, or after it was done) |
//! | `GET /sim/faults`, `DELETE /sim/faults[/{id}]` | shows (with `hits`), takes away |
//! | `PUT /sim/time` | `{"scale"?, "advanceSeconds"?}` |
//! | `PUT /sim/delays` | all of [`config::Delays`]; what is not named gets its default |
//! | `POST /sim/resources` | [`config::Resources`]: creates instances, pools, functions, …; gives `{"created": [{"kind", "displayName", "id", "imdsUrl"?, "privateIp"?}]}` |
//! | `GET /sim/iam`, `PUT /sim/iam` | [`config::IamDocument`]; `counting` tells which statements count yet |
//! | `PUT /sim/pools/{pool}` | `{"size"?, "autoscaling"?}`, as `terraform apply` does |
//! | `PUT /sim/instances/{instance}/cpu` | `{"percent": 80}` sets its CPU, `{"percent": null}` has it measured again |
//! | `PUT /sim/instances/{instance}/tags`, `…/metadata` | replaces free-form tags (the metadata follows later), metadata |
//! | `POST /sim/instances/{instance}/kill` | its processes die; the API goes on saying RUNNING. `…/reset` boots it again |
//! | `POST /sim/instances/{instance}/{poweroff,stop,start,reset,terminate}` | ACPI stop, power off, power on, … |
//! | `POST /sim/instances/{instance}/signal` | `{"unit"?: "sala.service", "signal": "KILL"}`, gives `{"processes": n}` |
//! | `POST /sim/instances/{instance}/run` | `{"argv": ["systemctl", "status", "sala"], "timeoutSeconds"?}` as somebody who logs in; gives `{"code", "stdout", "stderr"}` |
//! | `GET /sim/functions` | `count` of calls, `invoked` (`caller`, `callerType`, `request`, `status`, `response`), `containersStarted`, `log` (path of their output) |
//! | `GET`, `PUT`, `DELETE /sim/objects/{bucket}/{name}` | an object as the console shows it |
//! | `GET /sim/secrets` | names and decoded values; `PUT /sim/secrets/{name}` `{"value"}` writes a version, `DELETE` schedules the deletion |
//!
//! Operations in the log bear Oracle's names (`GetSecretBundleByName`, `DetachInstancePoolInstance`, …), besides
//! `GetInstanceMetadata`, `FederateX509` and `Unknown`.

pub mod config;
pub mod machine;

mod admin;
mod api;
mod auth;
mod calls;
mod cloud;
mod faults;
mod iam;
mod ocid;
mod runtime;

pub use auth::KeyError;
pub use cloud::{CreateError, StartError};
pub use iam::IamError;
pub use runtime::{ServeError, serve};
