//! Real members of etcd, each a process that can be stopped, continued, killed and started again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use store::{Credentials, EtcdConfig, EtcdStore};

use super::certificates::Certificates;
use super::{Dir, PATIENCE};

const ROOT: &str = "root:root-secret";
const USER: &str = "sala:user-secret";

/// See the module. Dropping it kills the members.
pub(crate) struct Members {
    dir: Dir,
    members: Vec<Member>,
    certificates: Option<Certificates>,
    auth: bool,
    quota_bytes: Option<u64>,
}

struct Member {
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
    child: Option<Child>,
}

impl Members {
    /// Without TLS.
    pub(crate) fn start(count: usize) -> Members {
        Self::start_with(count, false, None)
    }

    /// With TLS on both sides, and a user `sala` who may read and write everything.
    pub(crate) fn start_secured(count: usize) -> Members {
        let mut members = Self::start_with(count, true, None);
        members.make_users();
        members
    }

    /// From now on who has no password is refused.
    pub(crate) fn make_users(&mut self) {
        let quiet = |arguments: &[&str]| drop(self.etcdctl(arguments));
        quiet(&["user", "add", ROOT]);
        quiet(&["user", "grant-role", "root", "root"]);
        quiet(&["user", "add", USER]);
        quiet(&["role", "add", "sala"]);
        quiet(&["role", "grant-permission", "sala", "--prefix=true", "readwrite", ""]);
        quiet(&["user", "grant-role", "sala", "sala"]);
        quiet(&["auth", "enable"]);
        self.auth = true;
    }

    pub(crate) fn start_with(count: usize, tls: bool, quota_bytes: Option<u64>) -> Members {
        let dir = Dir::new("etcd");
        let certificates = tls.then(|| Certificates::make(dir.path()));
        let members = (0..count)
            .map(|_| {
                let [client, peer, metrics] = free_addresses();
                Member { client, peer, metrics, child: None }
            })
            .collect();
        let mut members = Members { dir, members, certificates, auth: false, quota_bytes };
        for at in 0..count {
            members.run(at);
        }
        members.leader();
        members
    }

    /// Starts a member that was killed, on its old data.
    pub(crate) fn run(&mut self, at: usize) {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let url = |address: SocketAddr| format!("{scheme}://{address}");
        let cluster: Vec<_> =
            self.members.iter().enumerate().map(|(i, member)| format!("m{i}={}", url(member.peer))).collect();
        let member = &self.members[at];
        let path = |name: &str| self.dir.path().join(format!("m{at}.{name}"));
        // Members must not outlive a test that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "etcd"]);
        command.args(["--name", &format!("m{at}"), "--initial-cluster", &cluster.join(",")]);
        command.args(["--initial-cluster-state", "new", "--initial-cluster-token", "test"]);
        command.args([
            "--listen-client-urls",
            &url(member.client),
            "--advertise-client-urls",
            &url(member.client),
        ]);
        command.args([
            "--listen-peer-urls",
            &url(member.peer),
            "--initial-advertise-peer-urls",
            &url(member.peer),
        ]);
        command.args(["--listen-metrics-urls", &format!("http://{}", member.metrics)]);
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap"]);
        command.arg("--data-dir").arg(path("data")).arg("--log-outputs").arg(path("log"));
        if let Some(bytes) = self.quota_bytes {
            command.args(["--quota-backend-bytes", &bytes.to_string()]);
        }
        if let Some(Certificates { ca, certificate, key }) = &self.certificates {
            for side in ["", "peer-"] {
                command.arg(format!("--{side}client-cert-auth"));
                command.arg(format!("--{side}trusted-ca-file")).arg(ca);
                command.arg(format!("--{side}cert-file")).arg(certificate);
                command.arg(format!("--{side}key-file")).arg(key);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        require("etcd", "etcd-server");
        self.members[at].child = Some(command.spawn().expect("setpriv starts (apt-get install util-linux)"));
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        self.config_for(self.members.iter().map(|member| member.client).collect())
    }

    /// A client's configuration, by other ways to the members.
    pub(crate) fn config_for(&self, addresses: Vec<SocketAddr>) -> EtcdConfig {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let mut config =
            EtcdConfig::new(addresses.iter().map(|address| format!("{scheme}://{address}")).collect());
        if let Some(certificates) = &self.certificates {
            let read = |path| std::fs::read(path).expect("a PEM file");
            config.ca_certificate_pem = Some(read(&certificates.ca));
            config.client_certificate_pem = Some((read(&certificates.certificate), read(&certificates.key)));
        }
        if self.auth {
            config.credentials = Some(credentials());
        }
        config
    }

    pub(crate) fn store(&self) -> Arc<EtcdStore> {
        Arc::new(EtcdStore::new(self.config()).expect("a configuration"))
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// The member that says it leads. Waits for an election.
    pub(crate) fn leader(&self) -> usize {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let leads = |member: &Member| metrics(member.metrics).contains("\netcd_server_is_leader 1");
            if let Some(leader) = self.members.iter().position(leads) {
                return leader;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no leader; logs: {}", self.logs());
    }

    pub(crate) fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().expect("the member runs");
            child.wait().expect("it ends");
        }
    }

    /// Freezes a member: its connections stay open and nothing answers.
    pub(crate) fn stop(&self, at: usize) {
        self.signal(at, Signal::STOP);
    }

    pub(crate) fn go_on(&self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    fn signal(&self, at: usize, signal: Signal) {
        let child = self.members[at].child.as_ref().expect("the member runs");
        kill_process(Pid::from_child(child), signal).expect("the member runs");
    }

    /// Runs etcdctl as root.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        require("etcdctl", "etcd-client");
        let config = self.config();
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &config.endpoints.join(",")]);
        if let Some(Certificates { ca, certificate, key }) = &self.certificates {
            command.arg("--cacert").arg(ca).arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        if self.auth {
            command.args(["--user", ROOT]);
        }
        let output = command.args(arguments).output().expect("etcdctl runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn logs(&self) -> String {
        let read =
            |at| std::fs::read_to_string(self.dir.path().join(format!("m{at}.log"))).unwrap_or_default();
        (0..self.members.len()).map(read).collect()
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for at in 0..self.members.len() {
            self.kill(at);
        }
    }
}

/// Says what to install instead of "no such file".
fn require(program: &str, package: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(found, "this test starts `{program}`, which is not installed: apt-get install {package}");
}

/// Ports that were free a moment ago.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address"))
}

/// The member's metrics, or nothing.
fn metrics(address: SocketAddr) -> String {
    let ask = || {
        let timeout = Duration::from_millis(300);
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().unwrap_or_default()
}

/// Of the user `sala`.
pub(crate) fn credentials() -> Credentials {
    let (username, password) = USER.split_once(':').expect("user and password");
    Credentials { username: username.into(), password: password.into() }
}
