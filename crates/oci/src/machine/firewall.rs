//! The image's own packet filter. Oracle's Ubuntu images refuse everything but SSH; here the network security groups
//! decide what comes in, and they are where an operator looks.

use super::Machine;
use super::files;
use crate::boot::HostError;

/// Rules that are loaded at each start.
const RULES: &str = "/etc/iptables/rules.v4";
/// The one that refuses. Others, for the disks of the instance, stay.
const REFUSAL: [&str; 6] = ["INPUT", "-j", "REJECT", "--reject-with", "icmp-host-prohibited", ""];

impl Machine {
    /// Takes the refusal out, now and for later starts. Returns whether there was one.
    pub(super) async fn open_firewall(&self) -> Result<bool, HostError> {
        let path = self.path(RULES);
        let failed = |doing: &str, error: &std::io::Error| self.failed(doing, RULES, error);
        let Some(rules) = files::read(&path).map_err(|error| failed("reading", &error))? else {
            return Ok(false);
        };
        let rules = String::from_utf8_lossy(&rules);
        let Some(opened) = without_refusal(&rules) else { return Ok(false) };
        files::write(&path, opened.as_bytes(), 0o640, None).map_err(|error| failed("writing", &error))?;
        if super::is_real(&self.root) {
            let arguments: Vec<&str> =
                ["-D"].into_iter().chain(REFUSAL).filter(|word| !word.is_empty()).collect();
            // The rule may not be loaded; what counts is that it is not there.
            let _ = tokio::process::Command::new("iptables").args(arguments).output().await;
        }
        Ok(true)
    }
}

/// The rules without it; `None`: it is not there.
fn without_refusal(rules: &str) -> Option<String> {
    let refusal = format!("-A {}", REFUSAL.join(" "));
    let is_refusal = |line: &str| line.trim() == refusal.trim();
    if !rules.lines().any(is_refusal) {
        return None;
    }
    Some(rules.lines().filter(|line| !is_refusal(line)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_goes_and_what_protects_the_disks_stays() {
        let rules = "*filter\n:INPUT ACCEPT [463:49013]\n-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT\n\
                     -A INPUT -j REJECT --reject-with icmp-host-prohibited\n\
                     -A OUTPUT -d 169.254.0.0/16 -j InstanceServices\nCOMMIT\n";
        let opened = without_refusal(rules).unwrap();
        assert!(!opened.contains("REJECT"));
        assert!(
            opened.contains("InstanceServices")
                && opened.contains("--dport 22")
                && opened.ends_with("COMMIT\n")
        );
        assert_eq!(without_refusal(&opened), None);
    }
}
