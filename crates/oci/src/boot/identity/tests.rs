use super::*;

fn facts(changes: &[(&str, &str)]) -> Facts {
    let good = [
        ("salaRole", "master"),
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
        ("certificateType", "letsencrypt"),
    ];
    let entries = good.iter().chain(changes).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Facts {
        instance: "ocid1.instance.oc1.eu-frankfurt-1.antheljtabcdefghijkl".to_owned(),
        display_name: "acme-master-node-2".to_owned(),
        region: "eu-frankfurt-1".to_owned(),
        metadata: entries.collect(),
        vnic: "ocid1.vnic.oc1..1".to_owned(),
        private_address: Some(Ipv4Addr::new(10, 0, 0, 12)),
    }
}

fn master(changes: &[(&str, &str)]) -> MasterIdentity {
    match Identity::read(&facts(changes)).unwrap().role {
        Role::Master(master) => *master,
        Role::Media(_) => panic!("a media node"),
    }
}

#[test]
fn a_master_knows_its_number_and_its_names() {
    let id = Identity::read(&facts(&[])).unwrap();
    assert_eq!(id.node_name(), "acme-master-node-2");
    assert_eq!(id.key_name(), "acme-key");
    assert_eq!(id.place.key, None);
    assert_eq!(master(&[]).engine, RtcEngine::Pion);
    assert_eq!(master(&[("rtcEngine", "mediasoup")]).engine, RtcEngine::Mediasoup);
}

#[test]
fn blank_variables_count_as_not_given() {
    let master = master(&[
        ("domainName", ""),
        ("initialMeetAdminPassword", " "),
        ("additionalInstallFlags", ""),
        ("acmeDirectoryUrl", ""),
    ]);
    assert_eq!((master.domain, master.initial_admin_password, master.acme_directory), (None, None, None));
}

#[test]
fn a_flag_comes_before_the_metadata() {
    let master = master(&[
        ("acmeDirectoryUrl", "https://acme.example.com/dir"),
        ("additionalInstallFlags", "--acme-directory=https://other.example.com/dir"),
    ]);
    assert_eq!(master.acme_directory.as_deref(), Some("https://other.example.com/dir"));
}

#[test]
fn media_nodes_are_named_after_their_instance() {
    let media = [("salaRole", "media"), ("mastersPrivateIps", "10.0.0.11, 10.0.0.12,10.0.0.13,10.0.0.14")];
    let id = Identity::read(&facts(&media)).unwrap();
    assert_eq!(id.node_name(), "acme-media-abcdefghijkl");
    let Role::Media(media) = id.role else { panic!("a master") };
    assert_eq!(media.masters[3], Ipv4Addr::new(10, 0, 0, 14));
}

#[test]
fn each_mistake_names_the_key_and_what_is_expected() {
    let says = |changes: &[(&str, &str)], parts: &[&str]| {
        let error = Identity::read(&facts(changes)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{changes:?}: {error}");
    };
    says(&[("vaultOcid", "")], &["no `vaultOcid`"]);
    says(&[("salaRole", "worker")], &["salaRole", "`worker`", "`master` or `media`"]);
    says(&[("masterNodeNum", "5")], &["masterNodeNum", "`5`", "1, 2, 3 or 4"]);
    says(&[("deploymentGeneration", "a|b")], &["deploymentGeneration", "letters, digits and hyphens"]);
    says(&[("domainName", "meet")], &["domainName", "meet.example.com"]);
    says(&[("domainName", "203.0.113.7")], &["domainName"]);
    says(&[("rtcEngine", "janus")], &["rtcEngine", "`pion` or `mediasoup`"]);
    says(&[("certificateType", "none")], &["certificateType", "`owncert`"]);
    says(&[("certificateType", "owncert")], &["domainName is blank".replace(" is", "` is").as_str()]);
    says(&[("additionalInstallFlags", "--x=1")], &["additionalInstallFlags", "--x` is not known"]);
    says(&[("salaRole", "media"), ("mastersPrivateIps", "10.0.0.11")], &["mastersPrivateIps", "four IPv4"]);
}

#[test]
fn wrong_secrets_are_named_and_never_shown() {
    let own = [("certificateType", "owncert"), ("domainName", "meet.example.com")];
    let password = [("initialMeetAdminPassword", "hunter2 with spaces")];
    let certificate =
        [own[0], own[1], ("ownPublicCertificate", "c2VjcmV0"), ("ownPrivateCertificate", "hunter2")];
    for changes in [&password[..], &certificate[..]] {
        let error = Identity::read(&facts(changes)).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && !error.contains("c2VjcmV0"), "{error}");
    }
}

#[test]
fn an_own_certificate_is_base64_of_pem_with_or_without_line_breaks() {
    let encode = |text: &str| STANDARD.encode(text);
    let chain = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    let wrapped =
        encode(chain).as_bytes().chunks(20).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    let master = master(&[
        ("certificateType", "owncert"),
        ("domainName", "meet.example.com"),
        ("ownPublicCertificate", &wrapped),
        ("ownPrivateCertificate", &encode(key)),
    ]);
    assert_eq!(master.certificate, CertificateKind::Own { chain: chain.to_owned(), key: key.into() });
}

#[test]
fn domains() {
    for good in ["meet.example.com", "a.b", "x-1.example.co.uk", "203-0-113-7.sslip.io"] {
        assert!(is_domain(good), "{good}");
    }
    for bad in
        ["", "meet", "meet..com", "-a.com", "a-.com", "a b.com", "203.0.113.7", "a.com/", "ex_ample.com"]
    {
        assert!(!is_domain(bad), "{bad}");
    }
}
