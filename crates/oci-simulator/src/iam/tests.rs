//! Stories about who gets through.

use super::*;
use crate::config::Policy;

const TENANCY: &str = "ocid1.tenancy.t";
const HOME: &str = "ocid1.compartment.home";

fn iam(rules: &[(&str, &str)], statements: &[&str]) -> Iam {
    let compartments = [
        Compartment { id: HOME.into(), name: "home".into(), parent: String::new() },
        Compartment { id: "ocid1.compartment.cellar".into(), name: "cellar".into(), parent: HOME.into() },
    ];
    let mut iam = Iam::new(TENANCY, &compartments);
    iam.replace(&document(rules, statements), Duration::ZERO, Duration::ZERO).unwrap();
    iam
}

fn document(rules: &[(&str, &str)], statements: &[&str]) -> IamDocument {
    let group = |(name, rule): &(&str, &str)| DynamicGroup {
        name: (*name).into(),
        id: String::new(),
        matching_rule: (*rule).into(),
    };
    let statements = statements.iter().map(|&text| text.to_owned()).collect();
    let policies = vec![Policy { name: "p".into(), statements }];
    IamDocument { dynamic_groups: rules.iter().map(group).collect(), policies }
}

fn asks(iam: &Iam, permission: &str, bucket: Option<&str>, now: u64) -> bool {
    let principal = Principal::Instance { id: "ocid1.instance.m1".into() };
    let facts = [
        ("instance.id".to_owned(), "ocid1.instance.m1".to_owned()),
        ("instance.compartment.id".to_owned(), HOME.to_owned()),
    ];
    let variables = bucket.map(|name| ("target.bucket.name", name.to_owned())).into_iter().collect();
    let target = Target { compartment: HOME, variables };
    iam.allows(&Question {
        principal: &principal,
        operation: "GetObject",
        permission,
        target: &target,
        facts: &facts,
        now: Duration::from_secs(now),
    })
}

#[test]
fn an_instance_in_the_group_reads_the_named_bucket_only() {
    let rule = ("masters", "ALL {instance.compartment.id = 'ocid1.compartment.home'}");
    let iam = iam(
        &[rule],
        &[
            "Allow dynamic-group masters to read objects in compartment home where target.bucket.name = 'data'",
        ],
    );
    assert!(asks(&iam, "OBJECT_READ", Some("data"), 0));
    assert!(!asks(&iam, "OBJECT_READ", Some("other"), 0));
    assert!(!asks(&iam, "OBJECT_READ", None, 0), "no bucket, no match");
    assert!(!asks(&iam, "OBJECT_CREATE", Some("data"), 0));
}

#[test]
fn an_instance_outside_the_group_gets_nothing() {
    let rule = ("masters", "ANY {instance.id = 'ocid1.instance.m2', instance.id = 'ocid1.instance.m3'}");
    let iam = iam(&[rule], &["Allow dynamic-group masters to manage all-resources in tenancy"]);
    assert!(!asks(&iam, "OBJECT_READ", None, 0));
}

#[test]
fn a_place_holds_what_is_below_it_only() {
    let iam = iam(&[], &[]);
    let covers = |place: Place, compartment: &str| iam.covers(&place, compartment);
    assert!(covers(Place::Tenancy, "ocid1.compartment.cellar"));
    assert!(covers(Place::CompartmentId(HOME.into()), "ocid1.compartment.cellar"));
    assert!(covers(Place::CompartmentName("home:cellar".into()), "ocid1.compartment.cellar"));
    assert!(!covers(Place::CompartmentName("cellar".into()), HOME));
}

#[test]
fn a_change_counts_after_its_delay_both_ways() {
    let rule = ("masters", "instance.compartment.id = 'ocid1.compartment.home'");
    let statement = "Allow dynamic-group masters to read objects in tenancy";
    let mut iam = iam(&[rule], &[]);
    let (ten, sixty) = (Duration::from_secs(10), Duration::from_secs(60));
    iam.replace(&document(&[rule], &[statement]), ten, sixty).unwrap();
    assert!(!asks(&iam, "OBJECT_READ", None, 69));
    assert!(asks(&iam, "OBJECT_READ", None, 70));
    iam.replace(&document(&[rule], &[]), Duration::from_secs(100), sixty).unwrap();
    assert!(asks(&iam, "OBJECT_READ", None, 159), "it was taken away, which takes its time too");
    assert!(!asks(&iam, "OBJECT_READ", None, 160));
}

#[test]
fn a_permission_may_be_the_only_one() {
    let rule = ("masters", "instance.compartment.id = 'ocid1.compartment.home'");
    let statement = "Allow dynamic-group masters to manage objects in tenancy where \
                     any {request.permission = 'OBJECT_CREATE', request.permission = 'OBJECT_INSPECT'}";
    let iam = iam(&[rule], &[statement]);
    assert!(asks(&iam, "OBJECT_CREATE", None, 0));
    assert!(!asks(&iam, "OBJECT_DELETE", None, 0));
}
