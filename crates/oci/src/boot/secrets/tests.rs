use std::net::Ipv4Addr;

use super::*;
use crate::machine::Machine;

fn host() -> Machine {
    Machine::new(std::path::Path::new("/nowhere"))
}

fn set() -> SecretSet {
    SecretSet::generate(&host(), "Acme Corp", "203-0-113-7.sslip.io".to_owned(), None, None).unwrap()
}

fn values(set: &SecretSet) -> BTreeMap<&'static str, Secret> {
    set.to_vault().into_iter().filter(|(name, _)| NEEDED.contains(name)).collect()
}

#[test]
fn what_is_written_is_what_is_read() {
    let set = set();
    assert_eq!(SecretSet::from_vault(&host(), &values(&set)).unwrap(), set);
    assert_eq!(set.openvidu_url(), "https://203-0-113-7.sslip.io/");
    assert_eq!(set.livekit_url(), "wss://203-0-113-7.sslip.io/");
    assert!(set.cluster.starts_with("acmecorp-"), "{}", set.cluster);
    assert_eq!(set.seed.admin_user, "admin");
}

#[test]
fn initial_values_of_meet_are_the_operators_if_given() {
    let set = SecretSet::generate(
        &host(),
        "acme",
        "meet.example.com".to_owned(),
        Some("hello_world-1".into()),
        Some("meet-key".into()),
    )
    .unwrap();
    let written: BTreeMap<_, _> = set.to_vault().into_iter().collect();
    assert_eq!(written[MEET_INITIAL_ADMIN_PASSWORD].reveal(), "hello_world-1");
    assert_eq!(written[MEET_INITIAL_API_KEY].reveal(), "meet-key");
}

#[test]
fn two_sets_have_nothing_in_common() {
    let (one, other) = (set(), set());
    for (mine, yours) in [
        (&one.api_secret, &other.api_secret),
        (&one.store_password, &other.store_password),
        (&one.seed.admin_password, &other.seed.admin_password),
    ] {
        assert_ne!(mine, yours);
        assert!(mine.reveal().len() == 44 && mine.reveal().chars().all(|c| c.is_ascii_alphanumeric()));
    }
    assert_ne!(one.cluster, other.cluster);
}

#[test]
fn nonsense_is_refused_by_name_with_the_form_that_is_expected_and_without_the_value() {
    let good = values(&set());
    let other = set();
    let cases = [
        (DOMAIN_NAME, "http://meet", "a domain name"),
        (LIVEKIT_API_KEY, "key with spaces", "letters, digits"),
        (LIVEKIT_API_SECRET, "short", "32 to 256"),
        (MEET_SEED, "{\"adminUser\":\"admin\"}", "adminPassword"),
        (CLUSTER_ID, "a b", "first version"),
        (CA_CERTIFICATE, "nonsense", "PEM"),
        (CA_KEY, other.authority.key.reveal(), "go together"),
        (STORE_PASSWORD, "tiny", "16 to 256"),
        (STORE_ROOT_PASSWORD, "tiny", "first version"),
    ];
    for (name, nonsense, expected) in cases {
        let mut edited = good.clone();
        edited.insert(name, nonsense.into());
        let error = SecretSet::from_vault(&host(), &edited).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name), "{name}: {text}");
        assert!(text.contains(expected), "{name}: {text}");
        assert!(nonsense.len() < 6 || !text.contains(nonsense), "{name}: {text}");
        edited.remove(name);
        assert!(
            SecretSet::from_vault(&host(), &edited).unwrap_err().to_string().contains("missing"),
            "{name}"
        );
        edited.insert(name, " \n".into());
        assert!(SecretSet::from_vault(&host(), &edited).unwrap_err().to_string().contains("blank"), "{name}");
    }
}

#[test]
fn a_line_break_that_a_console_adds_does_no_harm() {
    let set = set();
    let mut edited = values(&set);
    for value in edited.values_mut() {
        *value = format!("{}\n", value.reveal().trim_end()).into();
    }
    let read = SecretSet::from_vault(&host(), &edited).unwrap();
    assert_eq!(read.api_secret, set.api_secret);
}

#[test]
fn addresses_and_versions_of_a_former_deployment_are_none() {
    let value = address_value("gen-2", Ipv4Addr::new(10, 0, 0, 11));
    assert_eq!(address_of("gen-2", &value), Some(Ipv4Addr::new(10, 0, 0, 11)));
    assert_eq!(address_of("gen-1", &value), None);
    assert_eq!(address_of("gen-2", &"10.0.0.11".into()), None);

    let versions = Versions(BTreeMap::from([("A".to_owned(), 3), ("B_C".to_owned(), 1)]));
    let value = versions.to_value("gen-2");
    assert_eq!(value.reveal(), "gen-2|A=3,B_C=1");
    assert_eq!(Versions::from_value("gen-2", &value), Some(versions));
    assert_eq!(Versions::from_value("gen-1", &value), None);
    assert_eq!(Versions::from_value("gen-2", &"gen-2|A=x".into()), None);
}

proptest::proptest! {
    #[test]
    fn no_value_of_the_vault_makes_it_panic(name in 0..NEEDED.len(), value in ".{0,300}") {
        let mut edited = values(&set());
        edited.insert(NEEDED[name], value.into());
        let _ = SecretSet::from_vault(&host(), &edited);
    }
}
