//! Where the services are: host names from region and realm, or one base URL for all in a rehearsal.

use http::Uri;
use serde::Deserialize;

use crate::error::Failure;

/// The services used, each with its own host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Auth,
    Core,
    Functions,
    Kms,
    NetworkLoadBalancer,
    ObjectStorage,
    Secrets,
    Telemetry,
    TelemetryIngestion,
    Vaults,
}

impl Service {
    pub(crate) const COUNT: usize = 10;

    const ALL: [Service; Service::COUNT] = [
        Service::Auth,
        Service::Core,
        Service::Functions,
        Service::Kms,
        Service::NetworkLoadBalancer,
        Service::ObjectStorage,
        Service::Secrets,
        Service::Telemetry,
        Service::TelemetryIngestion,
        Service::Vaults,
    ];

    /// What stands before and after the region; newer services have `oci` in between.
    fn host(self, region: &Region) -> String {
        let (prefix, oci) = match self {
            Service::Auth => ("auth", ""),
            Service::Core => ("iaas", ""),
            Service::Functions => ("functions", "oci."),
            Service::Kms => ("kms", ""),
            Service::NetworkLoadBalancer => ("network-load-balancer-api", "oci."),
            Service::ObjectStorage => ("objectstorage", ""),
            Service::Secrets => ("secrets.vaults", "oci."),
            Service::Telemetry => ("telemetry", ""),
            Service::TelemetryIngestion => ("telemetry-ingestion", ""),
            Service::Vaults => ("vaults", "oci."),
        };
        format!("{prefix}.{}.{oci}{}", region.name, region.domain)
    }
}

/// A region and the domain of its realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    name: String,
    domain: String,
}

/// `regionInfo` of an instance and `OCI_REGION_METADATA`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionInfo {
    pub region_identifier: String,
    pub realm_domain_component: String,
    #[serde(default)]
    pub realm_key: String,
    #[serde(default)]
    pub region_key: String,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{name} is {value:?}, which is no URL of the form http://host:port; set it so or unset it")]
    NotAUrl { name: &'static str, value: String },
    #[error(
        "the region {0:?} is no region's name; give it as in the console's address, such as eu-frankfurt-1"
    )]
    Region(String),
    #[error(
        "the realm's domain {0:?} is no domain name; it comes from the instance's metadata or OCI_REGION_METADATA"
    )]
    Domain(String),
}

/// Regions outside the commercial realm, by the beginning of their name. A realm that is not here is told by the
/// instance's metadata or by `OCI_REGION_METADATA`.
const REALMS: &[(&str, &str)] = &[
    ("us-langley-1", "oraclegovcloud.com"),
    ("us-luke-1", "oraclegovcloud.com"),
    ("us-gov-", "oraclegovcloud.com"),
    ("uk-gov-", "oraclegovcloud.uk"),
    ("ap-chiyoda-1", "oraclecloud8.com"),
    ("ap-ibaraki-1", "oraclecloud8.com"),
    ("me-dcc-muscat-1", "oraclecloud9.com"),
    ("me-ibri-1", "oraclecloud9.com"),
    ("ap-dcc-canberra-1", "oraclecloud10.com"),
    ("eu-dcc-milan-", "oraclecloud14.com"),
    ("eu-dcc-dublin-", "oraclecloud14.com"),
    ("eu-dcc-rating-", "oraclecloud14.com"),
    ("ap-dcc-gazipur-1", "oraclecloud15.com"),
    ("eu-madrid-2", "oraclecloud.eu"),
    ("eu-frankfurt-2", "oraclecloud.eu"),
    ("eu-jovanovac-1", "oraclecloud20.com"),
    ("me-dcc-doha-1", "oraclecloud21.com"),
    ("eu-dcc-zurich-1", "oraclecloud24.com"),
];

/// The four oldest regions, which metadata may give by their key.
const SHORT_NAMES: &[(&str, &str)] =
    &[("phx", "us-phoenix-1"), ("iad", "us-ashburn-1"), ("fra", "eu-frankfurt-1"), ("lhr", "uk-london-1")];

impl Region {
    /// A region by its name, in the realm that the name tells.
    pub fn named(name: &str) -> Result<Region, SettingsError> {
        let name = name.trim().to_ascii_lowercase();
        let name =
            SHORT_NAMES.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| (*long).to_owned());
        let domain = REALMS.iter().find(|(prefix, _)| name.starts_with(prefix));
        Region::new(&name, domain.map_or("oraclecloud.com", |(_, domain)| domain))
    }

    /// A region of any realm.
    pub fn new(name: &str, domain: &str) -> Result<Region, SettingsError> {
        let label = |text: &str| {
            !text.is_empty()
                && text.len() <= 63
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !label(name) {
            return Err(SettingsError::Region(name.to_owned()));
        }
        match domain.contains('.') && domain.split('.').all(label) {
            true => Ok(Region { name: name.to_owned(), domain: domain.to_owned() }),
            false => Err(SettingsError::Domain(domain.to_owned())),
        }
    }

    pub fn from_info(info: &RegionInfo) -> Result<Region, SettingsError> {
        Region::new(&info.region_identifier.to_ascii_lowercase(), &info.realm_domain_component)
    }

    /// Such as `eu-frankfurt-1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Such as `oraclecloud.com`.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// The base URL of each service.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    region: Region,
    overridden: bool,
    bases: [Uri; Service::COUNT],
}

impl Endpoints {
    /// `all` in the place of every service's own, as `SALA_OCI_ENDPOINT` asks.
    pub(crate) fn new(region: Region, all: Option<Uri>) -> Endpoints {
        let bases = Service::ALL.map(|service| match &all {
            Some(all) => all.clone(),
            None => Uri::builder()
                .scheme("https")
                .authority(service.host(&region))
                .path_and_query("/")
                .build()
                .expect("a checked region makes a URL"),
        });
        Endpoints { region, overridden: all.is_some(), bases }
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    pub(crate) fn of(&self, service: Service) -> &Uri {
        &self.bases[service as usize]
    }

    /// An endpoint that a resource told. Requests carry a session's token: they go to Oracle's domain or, in a
    /// rehearsal, wherever the simulator says.
    pub(crate) fn checked<'a>(&self, told: &'a Uri) -> Result<&'a Uri, Failure> {
        let host = told.host().unwrap_or_default();
        let oracles = ["", "oci."].iter().any(|oci| {
            let suffix = format!(".{oci}{}", self.region.domain);
            host.ends_with(&suffix)
        });
        match self.overridden || (told.scheme_str() == Some("https") && oracles) {
            true => Ok(told),
            false => Err(Failure::BadAnswer { cause: format!("the endpoint {told} is not Oracle's") }),
        }
    }
}

/// A base URL from a setting; blank is none.
pub(crate) fn base_url(name: &'static str, value: &str) -> Result<Option<Uri>, SettingsError> {
    let value = value.trim().trim_end_matches('/');
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || SettingsError::NotAUrl { name, value: value.chars().take(200).collect() };
    let uri: Uri = value.parse().map_err(|_| wrong())?;
    let good =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none();
    good.then_some(Some(uri)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_oracles_sdk() {
        let endpoints = Endpoints::new(Region::named("fra").unwrap(), None);
        let host = |service| endpoints.of(service).host().unwrap().to_owned();
        assert_eq!(host(Service::ObjectStorage), "objectstorage.eu-frankfurt-1.oraclecloud.com");
        assert_eq!(host(Service::Vaults), "vaults.eu-frankfurt-1.oci.oraclecloud.com");
        assert_eq!(host(Service::Secrets), "secrets.vaults.eu-frankfurt-1.oci.oraclecloud.com");
        assert_eq!(host(Service::Core), "iaas.eu-frankfurt-1.oraclecloud.com");
        assert_eq!(
            host(Service::NetworkLoadBalancer),
            "network-load-balancer-api.eu-frankfurt-1.oci.oraclecloud.com"
        );
        assert_eq!(Region::named("us-gov-phoenix-1").unwrap().domain(), "oraclegovcloud.com");
        assert_eq!(Region::named("eu-frankfurt-2").unwrap().domain(), "oraclecloud.eu");
    }

    #[test]
    fn a_region_cannot_lead_requests_to_another_host() {
        for bad in ["", "eu frankfurt", "evil.example/x", "eu-frankfurt-1.evil"] {
            assert!(matches!(Region::named(bad), Err(SettingsError::Region(_))), "{bad}");
        }
        assert!(matches!(Region::new("eu-frankfurt-1", "evil/"), Err(SettingsError::Domain(_))));
    }

    #[test]
    fn tokens_are_not_sent_to_an_endpoint_that_is_not_oracles() {
        let endpoints = Endpoints::new(Region::named("eu-frankfurt-1").unwrap(), None);
        let ok = |uri: &str| endpoints.checked(&uri.parse().unwrap()).is_ok();
        assert!(ok("https://abc-management.kms.eu-frankfurt-1.oraclecloud.com"));
        assert!(ok("https://x.call.eu-frankfurt-1.functions.oci.oraclecloud.com"));
        assert!(!ok("http://abc-management.kms.eu-frankfurt-1.oraclecloud.com"));
        assert!(!ok("https://oraclecloud.com.example.org"));
        let rehearsal = Endpoints::new(
            Region::named("eu-frankfurt-1").unwrap(),
            Some("http://127.0.0.1:1".parse().unwrap()),
        );
        assert!(rehearsal.checked(&"http://127.0.0.1:2/kms".parse().unwrap()).is_ok());
    }

    #[test]
    fn an_override_that_is_no_url_is_named() {
        assert_eq!(base_url("X", " ").unwrap(), None);
        assert_eq!(
            base_url("X", "http://127.20.0.1:8800/").unwrap().unwrap().to_string(),
            "http://127.20.0.1:8800/"
        );
        for bad in ["127.0.0.1:8800", "ftp://x", "http://", "http://x/?q=1"] {
            assert!(matches!(base_url("X", bad), Err(SettingsError::NotAUrl { name: "X", .. })), "{bad}");
        }
    }
}
