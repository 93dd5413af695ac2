//! Pebble and its DNS server as processes, which end with the test.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cluster::security::Ca;
use serde_json::json;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// See the module.
pub(crate) struct Pebble {
    dir: PathBuf,
    address: SocketAddr,
    management: SocketAddr,
    dns_management: SocketAddr,
    children: Vec<Child>,
    /// Of the server's own certificate.
    ca: Ca,
}

impl Pebble {
    /// A server that checks names at port `http_port`, and issues for `validity` seconds.
    pub(crate) fn start(http_port: u16, validity: u64) -> Pebble {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sala-pebble-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        // An address that nobody else has: then no port is taken between now and its use.
        let [high, low] = ((std::process::id() & 0xffff) as u16).to_be_bytes();
        let host = Ipv4Addr::new(127, high | 1, low, 100 + number as u8);
        let ca = Ca::generate("pebble").unwrap();
        ca.issue_files(&dir, "server", &[host.into()]).unwrap();
        std::fs::write(dir.join("ca.pem"), ca.certificate_pem()).unwrap();
        let [address, management, dns_management] = free_tcp(host);
        let dns = free_dns(host);

        let mut dns_server = command("pebble-challtestsrv", &dir);
        dns_server.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""]);
        dns_server.args(["-dnsserver", &dns.to_string()]).args(["-management", &dns_management.to_string()]);
        let config = json!({"pebble": {
            "listenAddress": address, "managementListenAddress": management,
            "certificate": dir.join("server.pem"), "privateKey": dir.join("server.key"),
            "httpPort": http_port, "tlsPort": 1, "ocspResponderURL": "",
            "certificateValidityPeriod": validity, "keyAlgorithm": "ecdsa",
            "profiles": {
                "default": {"description": "", "validityPeriod": validity},
                "shortlived": {"description": "", "validityPeriod": validity / 15},
            },
            // Polls come at the client's own pace.
            "retryAfter": {"authz": 1, "order": 1},
        }});
        std::fs::write(dir.join("pebble.json"), config.to_string()).unwrap();
        let mut server = command("pebble", &dir);
        server.arg("-config").arg(dir.join("pebble.json")).args(["-dnsserver", &dns.to_string(), "-strict"]);
        server.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        // Every validation is a real one.
        server.env("PEBBLE_AUTHZREUSE", "0");
        let children = vec![dns_server.spawn().expect("starts"), server.spawn().expect("starts")];
        let pebble = Pebble { dir, address, management, dns_management, children, ca };
        for address in [address, management, dns_management, dns] {
            wait_for(address, &pebble.dir);
        }
        pebble
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The root that issued certificates lead to.
    pub(crate) async fn root_pem(&self) -> String {
        self.https(self.management, "GET /roots/0", "").await
    }

    /// Has `name` lead to `address` from now on.
    pub(crate) fn resolve(&self, name: &str, address: IpAddr) {
        let name = format!("{name}.");
        self.dns("POST /clear-a", &json!({"host": name}).to_string());
        self.dns("POST /add-a", &json!({"host": name, "addresses": [address]}).to_string());
    }

    fn dns(&self, line: &str, body: &str) {
        let mut stream = TcpStream::connect(self.dns_management).unwrap();
        stream.write_all(request(line, body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }

    /// Whether this Pebble suggests when to renew; Debian 12's does not.
    pub(crate) async fn suggests_renewal(&self) -> bool {
        self.https(self.address, "GET /dir", "").await.contains("renewalInfo")
    }

    /// Has the server suggest that this certificate be renewed between these times (RFC 3339).
    pub(crate) async fn suggest(&self, certificate_pem: &str, start: &str, end: &str) {
        let window = json!({"suggestedWindow": {"start": start, "end": end}}).to_string();
        let body = json!({"certificate": certificate_pem, "ariResponse": window}).to_string();
        self.https(self.management, "POST /set-renewal-info/", &body).await;
    }

    /// How many certificates it has issued.
    pub(crate) fn issued(&self) -> usize {
        let log = std::fs::read_to_string(self.dir.join("pebble.log")).unwrap();
        log.matches("Issued certificate serial").count()
    }

    async fn https(&self, address: SocketAddr, line: &str, body: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream =
            super::masters::tls(address, self.ca.certificate_pem(), &address.ip().to_string()).await.unwrap();
        stream.write_all(request(line, body).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Go closes without a word of TLS.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        body.to_owned()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn request(line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.0\r\nhost: localhost\r\nuser-agent: test\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Ends with this process, however that ends.
fn command(name: &str, dir: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = root.join(".tools/pebble").join(name);
    assert!(program.exists(), "{} is missing; `make .tools/pebble/pebble` installs it", program.display());
    let log = File::create(dir.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
    command
}

fn wait_for(address: SocketAddr, dir: &Path) {
    let until = Instant::now() + STARTS_WITHIN;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "nothing listens on {address}; see the logs in {}", dir.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Addresses that are free now.
fn free_tcp<const N: usize>(host: Ipv4Addr) -> [SocketAddr; N] {
    let held = [(); N].map(|()| TcpListener::bind((host, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// One that is free for UDP and TCP now.
fn free_dns(host: Ipv4Addr) -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((host, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
