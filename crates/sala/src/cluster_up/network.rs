//! A network namespace for each host, on one bridge, and the faults between them. Only with `--netns`, as root.
//!
//! Packets are dropped where they arrive (netdev ingress, at both ends of a host's cable), so that the sender
//! notices as little as on a real network: a drop on the way out would make its send fail.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::plan::{Host, Subnet};

/// The bridge, and our own address on it.
const BRIDGE: &str = "sala-br0";
/// Last number of our own address: clients and the balancer.
const OUR_NUMBER: u8 = 1;

/// What is wrong with a host's cable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing comes through to or from these addresses; to or from nobody when there are none.
    Partition { from: Vec<Ipv4Addr> },
    /// This share of packets is lost, each way, in percent from 1 to 100.
    Loss { percent: u8 },
}

/// The bridge and the namespaces on it.
#[derive(Debug)]
pub(crate) struct Network {
    subnet: Subnet,
    hosts: Vec<String>,
    faults: BTreeMap<String, Fault>,
}

/// The namespace of a host.
pub(crate) fn namespace(host: &str) -> String {
    format!("sala-{host}")
}

/// Our end of a host's cable.
fn cable(host: &str) -> String {
    format!("sala-v-{host}")
}

impl Network {
    /// The bridge alone. What a killed run left behind is removed first.
    ///
    /// # Errors
    /// When we are not root, or `ip` or `nft` are missing.
    pub(crate) async fn create(subnet: Subnet, hosts: &[Host]) -> anyhow::Result<Network> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "--netns makes network namespaces, which only root may; run it with sudo, or without --netns"
            );
        }
        for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
            if super::process::find_program(program).is_none() {
                bail!("--netns needs `{program}`; install it: apt-get install {package}");
            }
        }
        let mut network = Network { subnet, hosts: Vec::new(), faults: BTreeMap::new() };
        remove_bridge(hosts.iter().map(|host| host.name.as_str())).await;
        run(&["ip", "link", "add", BRIDGE, "type", "bridge"]).await?;
        run(&["ip", "addr", "add", &format!("{}/24", subnet.host(OUR_NUMBER)), "dev", BRIDGE]).await?;
        run(&["ip", "link", "set", BRIDGE, "up"]).await?;
        for host in hosts {
            network.add(host).await?;
        }
        Ok(network)
    }

    /// A namespace for one more host.
    pub(crate) async fn add(&mut self, host: &Host) -> anyhow::Result<()> {
        let (namespace, cable) = (namespace(&host.name), cable(&host.name));
        let _ = run(&["ip", "netns", "del", &namespace]).await;
        run(&["ip", "netns", "add", &namespace]).await?;
        self.hosts.push(host.name.clone());
        let ours = ["ip", "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &namespace];
        run(&ours).await?;
        run(&["ip", "link", "set", &cable, "master", BRIDGE, "up"]).await?;
        let address = format!("{}/24", host.address);
        run(&["ip", "-n", &namespace, "addr", "add", &address, "dev", "eth0"]).await?;
        run(&["ip", "-n", &namespace, "link", "set", "lo", "up"]).await?;
        run(&["ip", "-n", &namespace, "link", "set", "eth0", "up"]).await?;
        let gateway = self.subnet.host(OUR_NUMBER).to_string();
        run(&["ip", "-n", &namespace, "route", "add", "default", "via", &gateway]).await
    }

    /// Our own address, where clients and the balancer are.
    pub(crate) fn our_address(&self) -> Ipv4Addr {
        self.subnet.host(OUR_NUMBER)
    }

    /// What is wrong with a host's cable now.
    pub(crate) fn fault(&self, host: &str) -> Option<&Fault> {
        self.faults.get(host)
    }

    /// Breaks a cable, or mends it.
    pub(crate) async fn set_fault(&mut self, host: &str, fault: Option<Fault>) -> anyhow::Result<()> {
        let cable = cable(host);
        nft(None, &script(&cable, &cable, fault.as_ref(), "ip daddr")).await?;
        nft(Some(&namespace(host)), &script(&cable, "eth0", fault.as_ref(), "ip saddr")).await?;
        match fault {
            Some(fault) => drop(self.faults.insert(host.to_owned(), fault)),
            None => drop(self.faults.remove(host)),
        }
        Ok(())
    }

    /// Removes it all.
    pub(crate) async fn remove(self) {
        for host in self.faults.keys() {
            let cable = cable(host);
            let _ = nft(None, &script(&cable, &cable, None, "ip daddr")).await;
        }
        remove_bridge(self.hosts.iter().map(String::as_str)).await;
    }
}

async fn remove_bridge(hosts: impl Iterator<Item = &str>) {
    for host in hosts {
        let _ = run(&["ip", "link", "del", &cable(host)]).await;
        let _ = run(&["ip", "netns", "del", &namespace(host)]).await;
    }
    let _ = run(&["ip", "link", "del", BRIDGE]).await;
}

/// What nft shall do about the packets that arrive at a device. `peer` is the field with the other host.
fn script(table: &str, device: &str, fault: Option<&Fault>, peer: &str) -> String {
    // Declared and deleted first: so it is gone whether or not it was there.
    let gone =
        format!("table netdev {table} {{}}\ndelete table netdev {table}\n").replace(table, &ident(table));
    let rule = match fault {
        None => return gone,
        Some(Fault::Partition { from }) if from.is_empty() => "drop".to_owned(),
        Some(Fault::Partition { from }) => {
            let from = from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{peer} {{ {from} }} drop")
        }
        // 100 is beyond what numgen can be compared with.
        Some(Fault::Loss { percent: 100.. }) => "drop".to_owned(),
        Some(Fault::Loss { percent }) => format!("numgen random mod 100 < {percent} drop"),
    };
    let table = ident(table);
    format!(
        "{gone}table netdev {table} {{ chain arrive {{ \
         type filter hook ingress device \"{device}\" priority 0; {rule}; }}; }}\n"
    )
}

/// nft's names have no minus.
fn ident(name: &str) -> String {
    name.replace('-', "_")
}

async fn nft(namespace: Option<&str>, script: &str) -> anyhow::Result<()> {
    let mut words = match namespace {
        Some(namespace) => vec!["ip", "netns", "exec", namespace],
        None => Vec::new(),
    };
    words.extend(["nft", "-f", "-"]);
    execute(&words, script).await
}

async fn run(words: &[&str]) -> anyhow::Result<()> {
    execute(words, "").await
}

async fn execute(words: &[&str], input: &str) -> anyhow::Result<()> {
    let said = words.join(" ");
    let program =
        super::process::find_program(words[0]).with_context(|| format!("`{}` is missing", words[0]))?;
    let mut child = Command::new(program)
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{said}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.with_context(|| format!("`{said}` takes no input"))?;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("`{said}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cable_is_mended_by_removing_the_table() {
        let mended = script("sala-v-a", "eth0", None, "ip saddr");
        assert_eq!(mended, "table netdev sala_v_a {}\ndelete table netdev sala_v_a\n");
    }

    #[test]
    fn a_partition_from_some_names_only_those() {
        let some =
            Fault::Partition { from: vec![Ipv4Addr::new(10, 77, 0, 11), Ipv4Addr::new(10, 77, 0, 12)] };
        assert!(
            script("t", "eth0", Some(&some), "ip saddr").contains("ip saddr { 10.77.0.11, 10.77.0.12 } drop")
        );
        let all = Fault::Partition { from: Vec::new() };
        assert!(script("t", "eth0", Some(&all), "ip saddr").contains("priority 0; drop;"));
        let loss = Fault::Loss { percent: 90 };
        assert!(script("t", "eth0", Some(&loss), "ip saddr").contains("mod 100 < 90 drop"));
    }
}
