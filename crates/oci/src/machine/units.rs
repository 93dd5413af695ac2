//! The units of `deploy/systemd`, as they are in the binary: so an install needs nothing but the binary.

use std::path::Path;

/// Where units are written to, under the machine's root.
pub const DIRECTORY: &str = "/etc/systemd/system";

/// A unit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitFile {
    pub name: &'static str,
    pub text: &'static str,
    /// Which machines have it.
    pub on: On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    All,
    Masters,
    Media,
}

/// All of them.
pub const ALL: [UnitFile; 5] = [
    UnitFile {
        name: "sala-boot.service",
        text: include_str!("../../../../deploy/systemd/sala-boot.service"),
        on: On::All,
    },
    UnitFile {
        name: "sala-etcd.service",
        text: include_str!("../../../../deploy/systemd/sala-etcd.service"),
        on: On::Masters,
    },
    UnitFile {
        name: "sala.service",
        text: include_str!("../../../../deploy/systemd/sala.service"),
        on: On::All,
    },
    UnitFile {
        name: "sala-drain-watch.service",
        text: include_str!("../../../../deploy/systemd/sala-drain-watch.service"),
        on: On::Media,
    },
    UnitFile {
        name: "openvidu.service",
        text: include_str!("../../../../deploy/systemd/openvidu.service"),
        on: On::All,
    },
];

/// What a machine's units have of their own.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    pub root: &'a Path,
    pub sala: &'a Path,
    pub etcd: &'a Path,
    /// Whether units run as the users they name.
    pub users: bool,
    /// Variables that our commands get, such as `SALA_OCI_ENDPOINT`.
    pub environment: &'a [(String, String)],
}

impl UnitFile {
    /// The unit for one machine: its programs where they are, its files under its root.
    pub fn render(&self, rendering: &Rendering<'_>) -> String {
        let mut text = String::with_capacity(self.text.len() + 256);
        for line in self.text.lines() {
            if !rendering.users && line.starts_with("User=") {
                continue;
            }
            text.push_str(&rendering.line(line));
            text.push('\n');
            if line == "[Service]" {
                for (name, value) in rendering.environment {
                    text.push_str(&format!("Environment={}\n", quoted(&format!("{name}={value}"))));
                }
                if rendering.root != Path::new("/") {
                    let root = format!("SALA_ROOT={}", rendering.root.display());
                    text.push_str(&format!("Environment={}\n", quoted(&root)));
                }
            }
        }
        text
    }
}

impl Rendering<'_> {
    fn line(&self, line: &str) -> String {
        if line.starts_with('#') {
            return line.to_owned();
        }
        let mut line = line
            .replace("=/usr/bin/sala ", &format!("={} ", self.sala.display()))
            .replace("=/usr/bin/etcd", &format!("={}", self.etcd.display()));
        if self.root != Path::new("/") {
            for directory in ["/etc/sala", "/var/lib/sala"] {
                let there = self.root.join(&directory[1..]);
                line = line.replace(directory, &there.display().to_string());
            }
        }
        line
    }
}

/// As systemd unquotes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitFile {
        ALL.into_iter().find(|unit| unit.name == name).unwrap()
    }

    #[test]
    fn on_a_real_machine_only_the_programs_move() {
        let rendering = Rendering {
            root: Path::new("/"),
            sala: Path::new("/usr/local/bin/sala"),
            etcd: Path::new("/usr/bin/etcd"),
            users: true,
            environment: &[],
        };
        for unit in ALL {
            let expected = unit.text.replace("=/usr/bin/sala ", "=/usr/local/bin/sala ");
            assert_eq!(unit.render(&rendering), expected, "{}", unit.name);
        }
    }

    #[test]
    fn under_a_root_files_are_there_too_and_commands_know_it() {
        let environment = [("SALA_OCI_ENDPOINT".to_owned(), "http://127.20.0.1:8800/50%".to_owned())];
        let rendering = Rendering {
            root: Path::new("/tmp/m1"),
            sala: Path::new("/work/sala"),
            etcd: Path::new("/opt/etcd"),
            users: false,
            environment: &environment,
        };
        let node = unit("sala.service").render(&rendering);
        assert!(
            node.contains("\nExecStart=/work/sala serve --config /tmp/m1/etc/sala/sala.yaml\n"),
            "{node}"
        );
        assert!(node.contains("\nConditionPathExists=/tmp/m1/etc/sala/sala.yaml\n"));
        assert!(node.contains("[Service]\nEnvironment=\"SALA_OCI_ENDPOINT=http://127.20.0.1:8800/50%%\"\n"));
        assert!(node.contains("Environment=\"SALA_ROOT=/tmp/m1\"\n"));
        assert!(!node.contains("User="));
        let store = unit("sala-etcd.service").render(&rendering);
        assert!(store.contains("\nExecStart=/opt/etcd\n"), "{store}");
        assert!(store.contains("\nEnvironmentFile=/tmp/m1/etc/sala/etcd.env\n"));
    }

    #[test]
    fn a_node_says_that_it_lives_and_may_drain_before_it_stops() {
        let node = unit("sala.service").text;
        for line in
            ["Type=notify", "WatchdogSec=20", "Restart=always", "TimeoutStopSec=14min", "LimitNOFILE=1048576"]
        {
            assert!(node.lines().any(|other| other == line), "{line}");
        }
    }

    #[test]
    fn a_failed_boot_never_keeps_a_node_from_starting() {
        let node = unit("sala.service").text;
        assert!(!node.contains("Requires=") && !node.contains("BindsTo="));
        assert!(node.contains("After=network-online.target sala-boot.service"));
        // Boot starts the store and waits for it: an order between them would stop both.
        assert!(!unit("sala-etcd.service").text.contains("sala-boot"));
    }

    #[test]
    fn who_reads_the_nodes_configuration_has_its_variables() {
        let variables = "EnvironmentFile=-/etc/sala/sala.env";
        for name in ["sala.service", "sala-drain-watch.service"] {
            assert!(unit(name).text.lines().any(|line| line == variables), "{name}");
        }
    }
}
