//! What verbs on resource types include, from Oracle's policy reference (docs.oracle.com, Content/Identity/Reference):
//! `corepolicyreference`, `keypolicyreference`, `objectstoragepolicyreference`, `functionspolicyreference`,
//! `monitoringpolicyreference`, `networkloadbalancerpolicyreference`.

/// Each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Verb {
    Inspect,
    Read,
    Use,
    Manage,
}

impl Verb {
    pub(super) fn parse(text: &str) -> Option<Verb> {
        let all =
            [("inspect", Verb::Inspect), ("read", Verb::Read), ("use", Verb::Use), ("manage", Verb::Manage)];
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, verb)| verb)
    }
}

/// A resource type with what each verb adds.
struct Resource {
    name: &'static str,
    adds: [&'static [&'static str]; 4],
}

const fn resource(name: &'static str, adds: [&'static [&'static str]; 4]) -> Resource {
    Resource { name, adds }
}

const RESOURCES: &[Resource] = &[
    resource(
        "objectstorage-namespaces",
        [&[], &["OBJECTSTORAGE_NAMESPACE_READ"], &[], &["OBJECTSTORAGE_NAMESPACE_UPDATE"]],
    ),
    resource(
        "buckets",
        [
            &["BUCKET_INSPECT"],
            &["BUCKET_READ"],
            &["BUCKET_UPDATE"],
            &["BUCKET_CREATE", "BUCKET_DELETE", "PAR_MANAGE"],
        ],
    ),
    resource(
        "objects",
        [
            &["OBJECT_INSPECT"],
            &["OBJECT_READ"],
            &["OBJECT_OVERWRITE"],
            &[
                "OBJECT_CREATE",
                "OBJECT_DELETE",
                "OBJECT_VERSION_DELETE",
                "OBJECT_RESTORE",
                "OBJECT_UPDATE_TIER",
            ],
        ],
    ),
    resource(
        "vaults",
        [
            &["VAULT_INSPECT"],
            &["VAULT_READ"],
            &["VAULT_CREATE_KEY", "VAULT_IMPORT_KEY", "VAULT_CREATE_SECRET"],
            &["VAULT_CREATE", "VAULT_UPDATE", "VAULT_DELETE", "VAULT_MOVE", "VAULT_BACKUP", "VAULT_RESTORE"],
        ],
    ),
    resource(
        "keys",
        [
            &["KEY_INSPECT"],
            &["KEY_READ"],
            &["KEY_ENCRYPT", "KEY_DECRYPT", "KEY_EXPORT", "KEY_SIGN", "KEY_VERIFY"],
            &["KEY_CREATE", "KEY_UPDATE", "KEY_ROTATE", "KEY_DELETE", "KEY_MOVE", "KEY_IMPORT", "KEY_BACKUP"],
        ],
    ),
    resource("key-delegate", [&[], &[], &["KEY_ASSOCIATE", "KEY_DISASSOCIATE"], &[]]),
    resource(
        "secrets",
        [
            &["SECRET_INSPECT"],
            &["SECRET_READ"],
            &["SECRET_UPDATE"],
            &["SECRET_CREATE", "SECRET_DELETE", "SECRET_MOVE"],
        ],
    ),
    resource(
        "secret-versions",
        [&["SECRET_VERSION_INSPECT"], &["SECRET_VERSION_READ"], &[], &["SECRET_VERSION_DELETE"]],
    ),
    resource("secret-bundles", [&["SECRET_BUNDLE_INSPECT"], &["SECRET_BUNDLE_READ"], &[], &[]]),
    resource(
        "instances",
        [
            &["INSTANCE_INSPECT"],
            &["INSTANCE_READ"],
            &[
                "INSTANCE_UPDATE",
                "INSTANCE_CREATE_IMAGE",
                "INSTANCE_POWER_ACTIONS",
                "INSTANCE_ATTACH_VOLUME",
                "INSTANCE_DETACH_VOLUME",
            ],
            &[
                "INSTANCE_CREATE",
                "INSTANCE_DELETE",
                "INSTANCE_ATTACH_SECONDARY_VNIC",
                "INSTANCE_DETACH_SECONDARY_VNIC",
                "INSTANCE_MOVE",
            ],
        ],
    ),
    resource(
        "instance-images",
        [&["INSTANCE_IMAGE_INSPECT"], &["INSTANCE_IMAGE_READ"], &["INSTANCE_IMAGE_UPDATE"], &[]],
    ),
    resource(
        "instance-configurations",
        [
            &["INSTANCE_CONFIGURATION_INSPECT"],
            &["INSTANCE_CONFIGURATION_READ"],
            &[],
            &[
                "INSTANCE_CONFIGURATION_CREATE",
                "INSTANCE_CONFIGURATION_UPDATE",
                "INSTANCE_CONFIGURATION_LAUNCH",
            ],
        ],
    ),
    resource(
        "instance-pools",
        [
            &["INSTANCE_POOL_INSPECT"],
            &["INSTANCE_POOL_READ"],
            &["INSTANCE_POOL_POWER_ACTIONS"],
            &[
                "INSTANCE_POOL_CREATE",
                "INSTANCE_POOL_UPDATE",
                "INSTANCE_POOL_DELETE",
                "INSTANCE_POOL_MOVE",
                "INSTANCE_POOL_INSTANCE_ATTACH",
                "INSTANCE_POOL_INSTANCE_DETACH",
            ],
        ],
    ),
    resource(
        "auto-scaling-configurations",
        [
            &["AUTO_SCALING_CONFIGURATION_INSPECT"],
            &["AUTO_SCALING_CONFIGURATION_READ"],
            &[],
            &["AUTO_SCALING_CONFIGURATION_CREATE", "AUTO_SCALING_CONFIGURATION_UPDATE"],
        ],
    ),
    resource(
        "volume-attachments",
        [
            &["VOLUME_ATTACHMENT_INSPECT"],
            &["VOLUME_ATTACHMENT_READ"],
            &["VOLUME_ATTACHMENT_UPDATE"],
            &["VOLUME_ATTACHMENT_CREATE", "VOLUME_ATTACHMENT_DELETE"],
        ],
    ),
    resource(
        "volumes",
        [&["VOLUME_INSPECT"], &[], &["VOLUME_UPDATE", "VOLUME_WRITE"], &["VOLUME_CREATE", "VOLUME_DELETE"]],
    ),
    resource(
        "vcns",
        [&["VCN_READ"], &[], &[], &["VCN_ATTACH", "VCN_DETACH", "VCN_UPDATE", "VCN_CREATE", "VCN_DELETE"]],
    ),
    resource(
        "subnets",
        [
            &["SUBNET_READ"],
            &[],
            &["SUBNET_ATTACH", "SUBNET_DETACH"],
            &["SUBNET_CREATE", "SUBNET_UPDATE", "SUBNET_DELETE"],
        ],
    ),
    resource(
        "vnics",
        [
            &["VNIC_READ"],
            &[],
            &[
                "VNIC_ATTACH",
                "VNIC_DETACH",
                "VNIC_CREATE",
                "VNIC_DELETE",
                "VNIC_UPDATE",
                "VNIC_ASSIGN",
                "VNIC_UNASSIGN",
            ],
            &[],
        ],
    ),
    resource("vnic-attachments", [&["VNIC_ATTACHMENT_READ"], &[], &[], &[]]),
    resource(
        "private-ips",
        [&["PRIVATE_IP_READ"], &[], &["PRIVATE_IP_UPDATE", "PRIVATE_IP_CREATE", "PRIVATE_IP_DELETE"], &[]],
    ),
    resource(
        "public-ips",
        [&[], &["PUBLIC_IP_READ"], &["PUBLIC_IP_UPDATE"], &["PUBLIC_IP_CREATE", "PUBLIC_IP_DELETE"]],
    ),
    resource(
        "network-security-groups",
        [
            &["NETWORK_SECURITY_GROUP_INSPECT"],
            &["NETWORK_SECURITY_GROUP_READ"],
            &["NETWORK_SECURITY_GROUP_UPDATE_MEMBERS"],
            &[
                "NETWORK_SECURITY_GROUP_CREATE",
                "NETWORK_SECURITY_GROUP_UPDATE",
                "NETWORK_SECURITY_GROUP_DELETE",
            ],
        ],
    ),
    resource("metrics", [&["METRIC_INSPECT"], &["METRIC_READ"], &["METRIC_WRITE"], &[]]),
    resource(
        "fn-app",
        [&["FN_APP_LIST"], &["FN_APP_READ"], &[], &["FN_APP_CREATE", "FN_APP_DELETE", "FN_APP_UPDATE"]],
    ),
    resource(
        "fn-function",
        [
            &["FN_FUNCTION_LIST"],
            &["FN_FUNCTION_READ"],
            &[],
            &["FN_FUNCTION_CREATE", "FN_FUNCTION_DELETE", "FN_FUNCTION_UPDATE"],
        ],
    ),
    resource("fn-invocation", [&[], &[], &["FN_INVOCATION"], &[]]),
    resource(
        "network-load-balancers",
        [
            &["NETWORK_LOAD_BALANCER_INSPECT"],
            &["NETWORK_LOAD_BALANCER_READ"],
            &["NETWORK_LOAD_BALANCER_UPDATE"],
            &["NETWORK_LOAD_BALANCER_CREATE", "NETWORK_LOAD_BALANCER_DELETE", "NETWORK_LOAD_BALANCER_MOVE"],
        ],
    ),
    // Known, so that a whole stack's policies can be given; no operation here needs them.
    resource(
        "repos",
        [&["REPOSITORY_INSPECT"], &["REPOSITORY_READ"], &["REPOSITORY_UPDATE"], &["REPOSITORY_MANAGE"]],
    ),
    resource(
        "log-groups",
        [&["LOG_GROUP_INSPECT"], &["LOG_GROUP_READ"], &["LOG_GROUP_UPDATE"], &["LOG_GROUP_CREATE"]],
    ),
    resource("log-content", [&[], &["LOG_CONTENT_READ"], &["LOG_CONTENT_WRITE"], &[]]),
    resource("compartments", [&["COMPARTMENT_INSPECT"], &["COMPARTMENT_READ"], &["COMPARTMENT_UPDATE"], &[]]),
    resource(
        "tag-namespaces",
        [&["TAG_NAMESPACE_INSPECT"], &["TAG_NAMESPACE_READ"], &["TAG_NAMESPACE_USE"], &[]],
    ),
];

/// Types that stand for several, and what they add beyond.
struct Family {
    name: &'static str,
    members: &'static [&'static str],
    extra: [&'static [&'static str]; 4],
}

const NOTHING: [&[&str]; 4] = [&[], &[], &[], &[]];

const FAMILIES: &[Family] = &[
    Family {
        name: "object-family",
        members: &["objectstorage-namespaces", "buckets", "objects"],
        extra: NOTHING,
    },
    Family {
        name: "secret-family",
        members: &["secrets", "secret-versions", "secret-bundles"],
        extra: NOTHING,
    },
    Family {
        name: "instance-family",
        members: &["instances", "instance-images", "volume-attachments"],
        extra: [
            &["VNIC_READ", "VNIC_ATTACHMENT_READ", "VOLUME_ATTACHMENT_INSPECT"],
            &["VOLUME_ATTACHMENT_READ"],
            &["VNIC_ATTACH", "VNIC_DETACH", "VOLUME_ATTACHMENT_UPDATE"],
            &["VOLUME_ATTACHMENT_CREATE", "VOLUME_ATTACHMENT_DELETE"],
        ],
    },
    Family {
        name: "compute-management-family",
        members: &["instance-configurations", "instance-pools"],
        extra: NOTHING,
    },
    Family {
        name: "virtual-network-family",
        members: &[
            "vcns",
            "subnets",
            "vnics",
            "vnic-attachments",
            "private-ips",
            "public-ips",
            "network-security-groups",
        ],
        extra: NOTHING,
    },
    Family { name: "volume-family", members: &["volumes", "volume-attachments"], extra: NOTHING },
    Family { name: "functions-family", members: &["fn-app", "fn-function", "fn-invocation"], extra: NOTHING },
    Family { name: "logging-family", members: &["log-groups", "log-content"], extra: NOTHING },
];

/// Whether a resource type or family has that name.
pub(super) fn is_known(name: &str) -> bool {
    name == "all-resources"
        || RESOURCES.iter().any(|resource| resource.name == name)
        || FAMILIES.iter().any(|family| family.name == name)
}

/// Whether the verb on that resource type includes the permission.
pub(super) fn includes(verb: Verb, name: &str, permission: &str) -> bool {
    let within = |adds: &[&[&str]; 4]| {
        adds[..=verb as usize].iter().any(|permissions| permissions.contains(&permission))
    };
    if let Some(family) = FAMILIES.iter().find(|family| family.name == name) {
        return within(&family.extra)
            || family.members.iter().any(|member| includes(verb, member, permission));
    }
    let is_meant = |resource: &&Resource| resource.name == name || name == "all-resources";
    RESOURCES.iter().filter(is_meant).any(|resource| within(&resource.adds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_include_those_before_and_families_their_members() {
        assert!(includes(Verb::Manage, "objects", "OBJECT_INSPECT"));
        assert!(!includes(Verb::Use, "objects", "OBJECT_CREATE"), "use only overwrites");
        assert!(includes(Verb::Read, "secret-family", "SECRET_BUNDLE_READ"));
        assert!(!includes(Verb::Read, "secrets", "SECRET_BUNDLE_READ"));
        assert!(
            !includes(Verb::Manage, "instance-family", "VNIC_DELETE"),
            "terminating needs use of vnics too"
        );
        assert!(includes(Verb::Manage, "all-resources", "INSTANCE_DELETE"));
    }

    #[test]
    fn the_members_of_families_exist() {
        for member in FAMILIES.iter().flat_map(|family| family.members) {
            assert!(is_known(member), "{member}");
        }
    }
}
