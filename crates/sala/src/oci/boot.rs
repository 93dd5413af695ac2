//! `sala oci boot`: this machine's way into its cluster, run by sala-boot.service.

use std::path::PathBuf;

use clap::Args;
use oci::Imds;
use oci::boot::OracleApi;
use oci::machine::Machine;

use crate::config::Logging;
use crate::log;

#[derive(Args)]
pub(crate) struct BootArgs {
    #[command(flatten)]
    pub(super) machine: MachineArgs,
}

/// Whose files are meant.
#[derive(Args)]
pub(super) struct MachineArgs {
    /// Put /etc, /opt and /var under this directory, for several machines on one host
    #[arg(long, env = "SALA_ROOT", value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,
}

/// Boots; what it waits for is logged.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: BootArgs) -> anyhow::Result<()> {
    log::init(&Logging::default())?;
    let machine = Machine::new(&std::path::absolute(args.machine.root)?);
    oci::boot::boot(&OracleApi::new(Imds::from_env()?), &machine).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use oci::boot::secrets::SecretSet;
    use oci::boot::settings::{self, CONFIG, File};
    use oci::boot::{Facts, Identity, Role};
    use oci::machine::Machine;

    use crate::config::{self, Config, cluster};

    fn identity(role: &str, more: &[(&str, &str)]) -> Identity {
        let both = [
            ("salaRole", role),
            ("stackName", "acme"),
            ("deploymentGeneration", "gen-1"),
            ("tenancyOcid", "ocid1.tenancy.oc1..t"),
            ("compartmentOcid", "ocid1.compartment.oc1..c"),
            ("vaultOcid", "ocid1.vault.oc1..v"),
            ("objectStorageNamespace", "ns"),
            ("bucketAppData", "app"),
            ("bucketClusterData", "cluster"),
            ("masterNodeNum", "2"),
            ("nlbOcid", "ocid1.networkloadbalancer.oc1..n"),
            ("mastersPrivateIps", "10.0.0.11,10.0.0.12,10.0.0.13,10.0.0.14"),
        ];
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Identity::read(&Facts {
            instance: "ocid1.instance.oc1..i".to_owned(),
            region: "eu-frankfurt-1".to_owned(),
            metadata: both.iter().chain(more).map(entry).collect::<BTreeMap<_, _>>(),
            private_address: Some(Ipv4Addr::new(10, 0, 0, 12)),
            ..Facts::default()
        })
        .unwrap()
    }

    fn host() -> Machine {
        Machine::new(std::path::Path::new("/tmp/a machine"))
    }

    fn secrets() -> SecretSet {
        SecretSet::generate(&host(), "acme", "203-0-113-7.sslip.io".to_owned(), None, None).unwrap()
    }

    fn masters() -> Vec<Ipv4Addr> {
        (11..15).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect()
    }

    /// The configuration as `sala serve` reads it.
    fn read(files: &[File]) -> Config {
        let file = files.last().unwrap();
        assert_eq!(file.path, CONFIG, "the configuration comes last");
        config::parse(file.content.reveal(), "test").unwrap()
    }

    fn master(more: &[(&str, &str)]) -> Config {
        let id = identity("master", more);
        let Role::Master(master) = &id.role else { panic!("a media node") };
        read(&settings::master(&host(), &id, master, &secrets(), &masters()).unwrap())
    }

    #[test]
    fn a_master_can_start_from_what_boot_writes() {
        let config = master(&[]);
        let settings = config.cluster.unwrap();
        assert_eq!(settings.roles, [cluster::Role::Master]);
        assert_eq!(settings.node_id.as_deref(), Some("acme-master-node-2"));
        assert_eq!(settings.internal_address, "10.0.0.12:7900".parse().unwrap());
        assert_eq!(settings.masters.len(), 4);
        assert_eq!(settings.store.endpoints[3], "https://10.0.0.14:2379");
        assert_eq!(settings.gateway.https, ["10.0.0.12:443".parse().unwrap()]);
        assert_eq!(settings.gateway.plain, ["10.0.0.12:7880".parse().unwrap()]);
        assert!(settings.gateway.proxy_protocol && settings.gateway.redirect_to_https);
        assert!(config.oci.scaling);
        assert_eq!(config.key_file.unwrap().to_str(), Some("/tmp/a machine/etc/sala/keys.yaml"));
    }

    #[test]
    fn each_kind_of_certificate_is_what_the_gateway_reads() {
        let gateway = |more: &[(&str, &str)]| master(more).cluster.unwrap().gateway;
        let acme = gateway(&[("additionalInstallFlags", "--acme-email=ops@example.com")]).acme.unwrap();
        assert_eq!(acme.names, ["203-0-113-7.sslip.io"]);
        assert_eq!(acme.contact.as_deref(), Some("ops@example.com"));
        let own = gateway(&[("certificateType", "selfsigned")]);
        assert_eq!(own.server_names, ["203-0-113-7.sslip.io"]);
        assert!(own.acme.is_none() && own.certificate_file.is_none());
    }

    #[test]
    fn a_media_node_can_start_from_what_boot_writes() {
        let id = identity("media", &[]);
        let public = Ipv4Addr::new(203, 0, 113, 5);
        let config = read(&settings::media(&host(), &id, &secrets(), &masters(), Some(public)));
        assert_eq!(config.rtc.node_ip, Some(public.into()));
        let settings = config.cluster.unwrap();
        assert_eq!(settings.roles, [cluster::Role::Media]);
        assert_eq!(settings.instance_id.as_deref(), Some("ocid1.instance.oc1..i"));
        assert!(!config.oci.scaling);
        // The unit's TimeoutStopSec is 14 minutes.
        assert!(settings.drain_deadline.as_secs() + 60 < 14 * 60);
    }
}
