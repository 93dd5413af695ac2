//! The configuration of each node, as an operator would write it in `sala.yaml`.

use std::fmt::Write as _;
use std::path::Path;

use super::home::Home;
use super::plan::{
    ETCD_CLIENT_PORT, GATEWAY_HTTP_PORT, GATEWAY_HTTPS_PORT, Host, HostKind, INTERNAL_PORT, MEDIA_TCP_PORT,
    MEDIA_UDP_PORTS, Plan, Program,
};
use super::process::Spec;

/// Log levels of a node: what happens, not each packet.
const LOG_LEVEL: &str = "info,sala=debug,cluster=debug";

/// Writes the configuration of a node and says how to start it.
pub(crate) fn spec(plan: &Plan, host: &Host, home: &Home, sala: &Path) -> anyhow::Result<Spec> {
    let name = &host.name;
    let file = home.write(&format!("configurations/{name}.yaml"), &yaml(plan, host, home))?;
    Ok(Spec {
        program: sala.to_owned(),
        arguments: vec!["serve".into(), "--config".into(), file.into()],
        namespace: plan.namespaces.then(|| super::network::namespace(name)),
        log: home.file(&format!("logs/{name}.{}.log", Program::Sala.name())),
    })
}

fn yaml(plan: &Plan, host: &Host, home: &Home) -> String {
    let file = |name: &str| quoted(&home.file(name));
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let masters = list(plan.masters().map(|m| format!("\"{}\"", m.socket(INTERNAL_PORT))).collect());
    let members = plan.masters().map(|m| format!("\"https://{}\"", m.socket(ETCD_CLIENT_PORT))).collect();
    let mut yaml = String::new();
    let role = match host.kind {
        HostKind::Master => "master",
        HostKind::Media => "media",
    };
    let _ = write!(
        yaml,
        "\
# Written by `sala cluster up`.
key_file: {keys}
logging:
  level: {LOG_LEVEL}
meeting:
  admin_password_file: {password}
cluster:
  id: {id}
  node_id: {name}
  roles: [{role}]
  internal_address: \"{internal}\"
  ca_certificate_file: {ca}
  ca_key_file: {ca_key}
  masters: {masters}
  store:
    endpoints: {members}
    username: sala
    password_file: {store_password}
",
        keys = file("certificates/keys.yaml"),
        password = file("certificates/admin-password"),
        id = plan.id,
        name = host.name,
        internal = host.socket(INTERNAL_PORT),
        ca = quoted(&home.ca_file()),
        ca_key = quoted(&home.ca_key_file()),
        members = list(members),
        store_password = file("certificates/store-password"),
    );
    match host.kind {
        HostKind::Master => {
            let _ = write!(
                yaml,
                "  gateway:
    http: [\"{http}\"]
    https: [\"{https}\"]
    certificate_file: {certificate}
    key_file: {key}
    proxy_protocol: true
",
                http = host.socket(GATEWAY_HTTP_PORT),
                https = host.socket(GATEWAY_HTTPS_PORT),
                certificate = file("certificates/gateway.pem"),
                key = file("certificates/gateway.key"),
            );
        }
        HostKind::Media => {
            let (first, last) = MEDIA_UDP_PORTS;
            let _ = write!(
                yaml,
                "\
webhook:
  urls: {webhooks}
rtc:
  node_ip: {address}
  tcp_port: {MEDIA_TCP_PORT}
  port_range_start: {first}
  port_range_end: {last}
",
                webhooks = list(
                    plan.webhooks
                        .iter()
                        .map(|url| serde_json::Value::from(url.as_str()).to_string())
                        .collect()
                ),
                address = host.address,
            );
        }
    }
    yaml
}

/// A path as a string of YAML.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config};

    #[test]
    fn what_is_written_is_what_a_node_reads() {
        let place = std::env::temp_dir().join(format!("sala-node-config-test-{}", std::process::id()));
        let mut plan = Plan::new(2, 1, false, None).unwrap();
        plan.webhooks = vec!["http://127.0.0.1:9/told?a=b".into()];
        let home = Home::create(&place, &plan).unwrap();
        for host in &plan.hosts {
            let config: Config = config::parse(&yaml(&plan, host, &home), "test").unwrap();
            let cluster = config.cluster.unwrap();
            assert_eq!(cluster.node_id.as_ref(), Some(&host.name));
            assert_eq!(cluster.masters.len(), 2);
            assert_eq!(cluster.gateway.http.len(), usize::from(host.kind == HostKind::Master));
            assert_eq!(config.rtc.node_ip.is_some(), host.kind == HostKind::Media);
            assert_eq!(config.webhook.urls.len(), usize::from(host.kind == HostKind::Media));
        }
        std::fs::remove_dir_all(place).unwrap();
    }
}
