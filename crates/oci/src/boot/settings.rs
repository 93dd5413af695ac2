//! What boot leaves on the machine: the node's configuration, its secrets as files of their own, and what the operator
//! looks for under `/opt/openvidu/config`.

use std::net::Ipv4Addr;

use auth::Secret;
use serde_json::{Value, json};

use super::error::BootError;
use super::host::{Host, Line, Mode};
use super::identity::{CertificateKind, Identity, MasterIdentity};
use super::secrets::SecretSet;
use super::store::CLIENT_PORT;

/// Last good one: a node can start from it.
pub const CONFIG: &str = "/etc/sala/sala.yaml";
pub const CA_FILE: &str = "/etc/sala/ca.pem";
const CA_KEY: &str = "/etc/sala/ca.key";
const KEYS: &str = "/etc/sala/keys.yaml";
const ADMIN_PASSWORD: &str = "/etc/sala/admin-password";
const STORE_PASSWORD: &str = "/etc/sala/store-password";
const OWN_CHAIN: &str = "/etc/sala/certificate.pem";
const OWN_KEY: &str = "/etc/sala/certificate.key";
const DATA: &str = "/var/lib/sala/node";
pub const OPENVIDU_ENV: &str = "/opt/openvidu/config/openvidu.env";
pub const MEET_ENV: &str = "/opt/openvidu/config/meet.env";

/// Between nodes, by mutual TLS.
const INTERNAL_PORT: u16 = 7900;
const HTTPS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
/// Health checks and the API, without PROXY protocol.
const PLAIN_PORT: u16 = 7880;

/// What a media node may take to empty itself before it stops; `TimeoutStopSec` of its unit is longer.
const DRAIN_DEADLINE_S: u32 = 600;

const HEADER: &str = "# Written by `sala oci boot` at each start: edits are lost. Change the secrets in the Vault instead, then\n\
     # `systemctl restart sala-boot sala` on each machine.\n";

/// A file to write. In the order of a list; the configuration last, so that it never names what is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: &'static str,
    pub content: Secret,
    pub mode: Mode,
}

fn file(path: &'static str, content: impl Into<Secret>, mode: Mode) -> File {
    File { path, content: content.into(), mode }
}

/// A master's files.
pub fn master(
    host: &impl Host,
    id: &Identity,
    master: &MasterIdentity,
    set: &SecretSet,
    masters: &[Ipv4Addr],
) -> Result<Vec<File>, BootError> {
    let mut files = common_files(set);
    let here = id.private_address;
    let mut gateway = json!({
        "https": [format!("{here}:{HTTPS_PORT}")],
        "http": [format!("{here}:{HTTP_PORT}")],
        "plain": [format!("{here}:{PLAIN_PORT}")],
        "proxy_protocol": true,
        "redirect_to_https": true,
    });
    match &master.certificate {
        CertificateKind::SelfSigned => gateway["server_names"] = json!([set.domain]),
        CertificateKind::Own { chain, key } => {
            host.check_certificate(chain, key).map_err(|problem| BootError::Variable {
                variable: "ownPublicCertificate, ownPrivateCertificate",
                problem,
            })?;
            files.push(file(OWN_KEY, key.clone(), Mode::Node));
            files.push(file(OWN_CHAIN, chain.as_str(), Mode::All));
            gateway["certificate_file"] = host.real_path(OWN_CHAIN).into();
            gateway["key_file"] = host.real_path(OWN_KEY).into();
        }
        CertificateKind::LetsEncrypt => gateway["acme"] = acme(master, &set.domain),
    }
    let mut config = common_config(host, id, set, masters, "master");
    config["cluster"]["gateway"] = gateway;
    config["oci"] = json!({ "scaling": true });
    if let Some(level) = &master.flags.log_level {
        config["logging"]["level"] = level.as_str().into();
    }
    files.push(file(OPENVIDU_ENV, openvidu_env(set), Mode::Root));
    files.push(file(MEET_ENV, meet_env(set), Mode::Root));
    files.push(file(CONFIG, yaml(&config), Mode::Node));
    Ok(files)
}

/// A media node's files. `public`: where clients send media to, if not to the private address.
pub fn media(
    host: &impl Host,
    id: &Identity,
    set: &SecretSet,
    masters: &[Ipv4Addr],
    public: Option<Ipv4Addr>,
) -> Vec<File> {
    let mut config = common_config(host, id, set, masters, "media");
    config["rtc"] = json!({ "node_ip": public.unwrap_or(id.private_address).to_string() });
    config["cluster"]["drain_deadline"] = DRAIN_DEADLINE_S.into();
    let mut files = common_files(set);
    files.push(file(CONFIG, yaml(&config), Mode::Node));
    files
}

fn common_files(set: &SecretSet) -> Vec<File> {
    vec![
        file(CA_FILE, set.authority.certificate.as_str(), Mode::All),
        file(CA_KEY, set.authority.key.clone(), Mode::Node),
        file(KEYS, format!("{}: {}\n", set.api_key, quoted(set.api_secret.reveal())), Mode::Node),
        file(ADMIN_PASSWORD, set.seed.admin_password.clone(), Mode::Node),
        file(STORE_PASSWORD, set.store_password.clone(), Mode::Node),
    ]
}

fn common_config(
    host: &impl Host,
    id: &Identity,
    set: &SecretSet,
    masters: &[Ipv4Addr],
    role: &str,
) -> Value {
    let sockets =
        |port: u16| masters.iter().map(move |address| format!("{address}:{port}")).collect::<Vec<_>>();
    let endpoints: Vec<String> =
        masters.iter().map(|address| format!("https://{address}:{CLIENT_PORT}")).collect();
    json!({
        "region": id.place.region,
        "key_file": host.real_path(KEYS),
        "data_dir": host.real_path(DATA),
        "logging": { "level": "info" },
        "meeting": {
            "admin_user": set.seed.admin_user,
            "admin_password_file": host.real_path(ADMIN_PASSWORD),
        },
        "cluster": {
            "id": set.cluster,
            "node_id": id.node_name(),
            "instance_id": id.instance,
            "roles": [role],
            "internal_address": format!("{}:{INTERNAL_PORT}", id.private_address),
            "ca_certificate_file": host.real_path(CA_FILE),
            "ca_key_file": host.real_path(CA_KEY),
            "masters": sockets(INTERNAL_PORT),
            "store": {
                "endpoints": endpoints,
                "username": "sala",
                "password_file": host.real_path(STORE_PASSWORD),
            },
        },
    })
}

fn acme(master: &MasterIdentity, domain: &str) -> Value {
    let mut acme = json!({ "names": [domain] });
    for (key, value) in [
        ("directory_url", &master.acme_directory),
        ("ca_file", &master.flags.acme_ca_file),
        ("contact", &master.flags.acme_email),
    ] {
        if let Some(value) = value {
            acme[key] = value.as_str().into();
        }
    }
    acme
}

fn openvidu_env(set: &SecretSet) -> String {
    let mut text = HEADER.to_owned();
    for (key, value) in [
        ("DOMAIN_NAME", set.domain.clone()),
        ("OPENVIDU_URL", set.openvidu_url()),
        ("LIVEKIT_URL", set.livekit_url()),
        ("LIVEKIT_API_KEY", set.api_key.clone()),
        ("LIVEKIT_API_SECRET", set.api_secret.reveal().to_owned()),
    ] {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

fn meet_env(set: &SecretSet) -> String {
    let seed = &set.seed;
    let api_key = seed.api_key.as_ref().map(Secret::reveal).unwrap_or_default();
    format!(
        "{HEADER}# These three only seeded the first start: changing them, here or in the Vault, changes nothing.\n\
         MEET_INITIAL_ADMIN_USER={}\nMEET_INITIAL_ADMIN_PASSWORD={}\nMEET_INITIAL_API_KEY={api_key}\n",
        seed.admin_user,
        seed.admin_password.reveal(),
    )
}

/// JSON is YAML; nested by indentation it reads like what an operator would write.
fn yaml(config: &Value) -> String {
    let mut text = HEADER.to_owned();
    write_yaml(config, 0, &mut text);
    text
}

fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{indent}{key}:\n"));
                write_yaml(value, depth + 1, text);
            }
            _ => text.push_str(&format!("{indent}{key}: {value}\n")),
        }
    }
}

/// As a string of YAML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Writes the files in their order. Returns whether one that a running node has read already changed.
pub(super) async fn write(host: &impl Host, files: &[File]) -> Result<bool, BootError> {
    let mut changed = false;
    for file in files {
        changed |= host.write(file.path, file.content.as_bytes(), file.mode).await?;
    }
    if changed {
        host.say(Line::Step(format!("the configuration is written: {}", host.real_path(CONFIG))));
    }
    Ok(changed)
}
