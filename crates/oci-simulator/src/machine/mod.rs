//! A simulated machine's init: as much of systemd as services that behave need, so that product code which calls
//! `systemctl` runs unchanged, many machines on a host.
//!
//! It reads unit files under `$SALA_ROOT/etc/systemd/system`. Types simple, exec, oneshot and notify (with watchdog);
//! `ExecStartPre/Start/StartPost/Reload/Stop/StopPost`, `Restart=`, `RestartSec=`, start limits, `TimeoutStartSec=`,
//! `TimeoutStopSec=`, `KillMode=`, `KillSignal=`, `Environment=`, `EnvironmentFile=`, `WorkingDirectory=`,
//! `RuntimeDirectory=`, `StateDirectory=`, `Requires=`, `Wants=`, `BindsTo=`, `After=`, `Before=`,
//! `ConditionPathExists=`, `WantedBy=`, templates, drop-ins. Hardening directives are read over. Absolute paths are
//! looked for below the machine's root first, then on the host.
//!
//! Output of a unit is in `$SALA_ROOT/var/log/units/<unit>.log` (`journalctl -u` shows it), that of the boot command
//! in `$SALA_ROOT/var/log/cloud-init-output.log`.

mod client;
mod command_line;
mod dependencies;
mod environment_file;
mod manager;
mod notify;
mod reaper;
mod service;
mod spawn;
mod supervise;
mod unit_file;
mod verbs;

use rustix::process::Signal;

pub use client::{journalctl, systemctl};
pub use supervise::{Arguments, run};

/// Names the control socket, in the environment of a machine's processes.
pub(crate) const SOCKET: &str = "SIM_INIT";
/// Names a process's unit.
pub(crate) const UNIT: &str = "SIM_UNIT";
/// How a supervisor ends that wants to be started again.
pub(crate) const REBOOT: i32 = 3;

/// `TERM`, `SIGTERM` or `15`.
pub(crate) fn signal_named(name: &str) -> Option<Signal> {
    let all = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("ABRT", Signal::ABORT),
        ("KILL", Signal::KILL),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("CONT", Signal::CONT),
        ("STOP", Signal::STOP),
    ];
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    all.into_iter()
        .find(|(known, signal)| *known == bare || name.parse() == Ok(signal.as_raw()))
        .map(|(_, signal)| signal)
}
