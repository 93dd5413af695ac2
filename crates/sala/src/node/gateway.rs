//! The gateway of a master as its configuration says, with the certificate that it shows.

use std::sync::Arc;

use anyhow::bail;
use auth::Secret;
use cluster::NodeId;
use cluster::acme::{AcmeConfig, CertificateShare, Clock, LETS_ENCRYPT, Reach, ShareConfig};
use cluster::gateway::{
    Bridge, Certificate, CertificateFiles, GatewayConfig, GatewayError, Limits, ProxyProtocol,
};
use store::Store;

use crate::config::{Config, cluster as settings};

/// PEM texts in place of files.
const CERTIFICATE_VARIABLE: &str = "SALA_GATEWAY_CERTIFICATE";
const KEY_VARIABLE: &str = "SALA_GATEWAY_KEY";

/// Reads what is to be read, and waits a moment for the store's certificate if that is to be shown.
pub(super) async fn config(
    config: &Config,
    gateway: &settings::Gateway,
    node: &NodeId,
    store: &Arc<dyn Store>,
) -> anyhow::Result<GatewayConfig> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let certificate = match own(gateway, variable(CERTIFICATE_VARIABLE), variable(KEY_VARIABLE))? {
        Some(own) => Some(own),
        None if gateway.https.is_empty() => None,
        None => Some(Certificate::Shared(share(gateway, node, store).await?)),
    };
    let bridge = |bridge: &settings::Bridge| Bridge {
        listen: bridge.listen,
        port: bridge.port,
        send_proxy_protocol: false,
    };
    Ok(GatewayConfig {
        node_id: node.clone(),
        https: gateway.https.clone(),
        http: gateway.http.clone(),
        plain: gateway.plain.clone(),
        redirect_to_https: gateway.redirect_to_https,
        certificate,
        proxy_protocol: gateway.proxy_protocol.then(ProxyProtocol::default),
        bridges: gateway.bridges.iter().map(bridge).collect(),
        auto_create_rooms: config.room.auto_create,
        limits: Limits {
            api_request_body_bytes: config.limit.max_api_request_body_size,
            max_room_name_bytes: config.limit.max_room_name_length,
            ..Limits::default()
        },
    })
}

/// The operator's own certificate. `chain` and `key` are those of the environment.
fn own(
    gateway: &settings::Gateway,
    chain: Option<String>,
    key: Option<String>,
) -> anyhow::Result<Option<Certificate>> {
    let own = match (&gateway.certificate_file, &gateway.key_file, chain, key) {
        (None, None, None, None) => return Ok(None),
        (Some(certificate), Some(key), None, None) => {
            Certificate::Files(CertificateFiles { certificate: certificate.clone(), key: key.clone() })
        }
        (None, None, Some(chain), Some(key)) => Certificate::Inline { chain, key: Secret::from(key) },
        (None, None, ..) => {
            bail!(
                "the gateway's own certificate needs both ${CERTIFICATE_VARIABLE} and ${KEY_VARIABLE}, or neither"
            )
        }
        (.., None, None) => bail!("cluster.gateway needs both certificate_file and key_file, or neither"),
        _ => bail!(
            "the gateway's certificate is both in cluster.gateway.certificate_file and in ${CERTIFICATE_VARIABLE}; leave one out"
        ),
    };
    if gateway.acme.is_some() {
        bail!("cluster.gateway has a certificate of its own and acme; leave one of them out");
    }
    Ok(Some(own))
}

/// The certificate that all masters share.
async fn share(
    gateway: &settings::Gateway,
    node: &NodeId,
    store: &Arc<dyn Store>,
) -> Result<Arc<CertificateShare>, GatewayError> {
    if gateway.acme.is_some() && gateway.http.is_empty() {
        return Err(cluster::acme::BadAcme::NoHttp.into());
    }
    let acme = gateway.acme.clone().map(|acme| AcmeConfig {
        names: acme.names,
        directory_url: acme
            .directory_url
            .filter(|url| !url.is_empty())
            .unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
        contact: acme.contact,
        ca_file: acme.ca_file,
        profile: acme.profile,
    });
    let names = gateway.server_names.clone();
    let config =
        ShareConfig { node_id: node.clone(), names, acme, reach: Reach::default(), clock: Clock::system() };
    Ok(CertificateShare::open(store.clone(), config).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn gateway(yaml: &str) -> settings::Gateway {
        let cluster = format!(
            "cluster:\n  id: c\n  roles: [master]\n  internal_address: 127.0.0.1:7900\n  masters: [127.0.0.1:7900]\n  \
             store: {{endpoints: []}}\n  gateway: {yaml}\n"
        );
        let config: Config = parse(&cluster, "test").unwrap();
        config.cluster.unwrap().gateway
    }

    #[test]
    fn a_certificate_comes_from_one_place_and_whole() {
        let some = || Some("PEM".to_owned());
        let files = gateway("{certificate_file: c.pem, key_file: c.key}");
        assert!(matches!(own(&files, None, None), Ok(Some(Certificate::Files(_)))));
        assert!(matches!(own(&gateway("{}"), some(), some()), Ok(Some(Certificate::Inline { .. }))));
        assert!(matches!(own(&gateway("{}"), None, None), Ok(None)));
        let problem =
            |gateway: &settings::Gateway, chain, key| own(gateway, chain, key).unwrap_err().to_string();
        assert!(problem(&gateway("{certificate_file: c.pem}"), None, None).contains("both certificate_file"));
        assert!(problem(&gateway("{}"), some(), None).contains("SALA_GATEWAY_KEY"));
        assert!(problem(&files, some(), some()).contains("leave one out"));
        let acme = gateway("{certificate_file: c.pem, key_file: c.key, acme: {names: [a.example.org]}}");
        assert!(problem(&acme, None, None).contains("acme"));
    }

    #[test]
    fn what_an_operator_writes_for_acme_is_understood() {
        let gateway = gateway(
            "{http: [0.0.0.0:80], https: [0.0.0.0:443], redirect_to_https: true, acme: {names: [meet.example.org, 203.0.113.7], \
             directory_url: https://ca.example/dir, contact: me@example.org, ca_file: ca.pem, profile: shortlived}}",
        );
        let acme = gateway.acme.unwrap();
        assert_eq!((acme.names.len(), acme.profile.as_deref()), (2, Some("shortlived")));
    }
}
