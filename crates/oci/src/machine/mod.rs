//! The machine a node runs on: files with their modes under a root directory, systemd units, and `systemctl`. Knows no
//! cloud.
