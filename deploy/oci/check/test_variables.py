"""The variables are those of the OpenVidu guide for OCI, with its defaults; a value out of range is refused at plan
time with a sentence. `EXAMPLES` has a good and a bad value for every single validation."""

import base64
import re

import pytest

from evaluate import EvaluationError, Scope, evaluate
from hcl import text_of

# shared/reference/oci-ha.md §2. None: no default, the operator must say.
GUIDE = {
    "tenancy_ocid": None, "compartment_ocid": None, "user_ocid": None, "stackName": None, "openviduLicense": "",
    "region": "eu-frankfurt-1", "availability_domain": 1,
    "masterNodeShape": "VM.Standard.E4.Flex", "masterNodeOcpus": 2, "masterNodeMemory": 8, "masterNodeDiskSize": 100,
    "mediaNodeShape": "VM.Standard.E4.Flex", "mediaNodeOcpus": 3, "mediaNodeMemory": 4, "mediaNodeDiskSize": 100,
    "fixedNumberOfMediaNodes": 0, "initialNumberOfMediaNodes": 1, "minNumberOfMediaNodes": 1,
    "maxNumberOfMediaNodes": 5, "scaleTargetCPU": 50, "scale_in_function_image": "",
    "certificateType": "letsencrypt", "publicIpAddress": "", "domainName": "", "ownPublicCertificate": "",
    "ownPrivateCertificate": "", "initialMeetAdminPassword": "", "initialMeetApiKey": "", "bucketAppDataName": "",
    "bucketClusterDataName": "", "rtcEngine": "pion", "vault_ocid": "", "key_ocid": "", "additionalInstallFlags": "",
}  # fmt: skip

# Beyond the guide, so that a terraform.tfvars written for it works as it is.
OURS = {
    "salaVersion", "salaBinaryUrl", "salaBinaryFile", "salaBinarySha256", "scaleOutByMasters", "sshAllowedCidrs",
    "sshKeyInBucket", "acmeDirectoryUrl",
}  # fmt: skip

MANDATORY = {
    "tenancy_ocid": "ocid1.tenancy.oc1..aaaa",
    "compartment_ocid": "ocid1.compartment.oc1..aaaa",
    "user_ocid": "ocid1.user.oc1..aaaa",
    "stackName": "openvidu-ha",
}

CERTIFICATE = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n").decode()
KEY = base64.b64encode(b"-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n").decode()
OWN = {"domainName": "meet.example.com", "ownPublicCertificate": CERTIFICATE, "ownPrivateCertificate": KEY}


def size(prefix):
    return [
        (f"{prefix}Shape", 0, {f"{prefix}Shape": "BM.Standard.A1.160"}, {f"{prefix}Shape": "large"}),
        (f"{prefix}Ocpus", 0, {f"{prefix}Ocpus": 1}, {f"{prefix}Ocpus": 0}),
        (f"{prefix}Ocpus", 0, {f"{prefix}Ocpus": 144}, {f"{prefix}Ocpus": 145}),
        (f"{prefix}Ocpus", 0, {f"{prefix}Ocpus": 4}, {f"{prefix}Ocpus": 1.5}),
        (f"{prefix}Memory", 0, {f"{prefix}Memory": 64}, {f"{prefix}Memory": 4.5}),
        (f"{prefix}Memory", 0, {f"{prefix}Memory": 1, f"{prefix}Ocpus": 1}, {f"{prefix}Memory": 0}),
        (f"{prefix}Memory", 0, {f"{prefix}Memory": 1760, f"{prefix}Ocpus": 64}, {f"{prefix}Memory": 1761}),
        (f"{prefix}Memory", 1, {f"{prefix}Memory": 64, f"{prefix}Ocpus": 1}, {f"{prefix}Memory": 65, f"{prefix}Ocpus": 1}),
        (f"{prefix}Memory", 1, {f"{prefix}Memory": 4, f"{prefix}Ocpus": 4}, {f"{prefix}Memory": 3, f"{prefix}Ocpus": 4}),
        (f"{prefix}DiskSize", 0, {f"{prefix}DiskSize": 50}, {f"{prefix}DiskSize": 49}),
        (f"{prefix}DiskSize", 0, {f"{prefix}DiskSize": 32768}, {f"{prefix}DiskSize": 32769}),
    ]


def simple(name, good, *bad):
    return [(name, 0, {name: good}, {name: value}) for value in bad]


# Variable, which of its validations, values that pass it, values that it refuses.
EXAMPLES = [
    *simple("tenancy_ocid", "ocid1.tenancy.oc1..aaaa", "", "ocid1.user.oc1..aaaa", "mytenancy"),
    *simple("compartment_ocid", "ocid1.tenancy.oc1..root", "", "ocid1.instance.oc1..aaaa"),
    *simple("user_ocid", "ocid1.user.oc1..aaaa", "", "me@example.com"),
    *simple("stackName", "Stack_1-a", "", "1stack", "my stack", "a" * 51, "x'y"),
    *simple("region", "us-gov-ashburn-1", "", "Frankfurt", "eu-frankfurt", "eu-frankfurt-1\n"),
    *simple("availability_domain", 3, 0, 4, 1.5),
    *size("masterNode"),
    *size("mediaNode"),
    *simple("fixedNumberOfMediaNodes", 200, -1, 201, 2.5),
    ("initialNumberOfMediaNodes", 0, {"initialNumberOfMediaNodes": 5}, {"initialNumberOfMediaNodes": 6}),
    ("initialNumberOfMediaNodes", 0, {"initialNumberOfMediaNodes": 2, "minNumberOfMediaNodes": 2}, {"minNumberOfMediaNodes": 2}),
    ("initialNumberOfMediaNodes", 0, {"initialNumberOfMediaNodes": 9, "fixedNumberOfMediaNodes": 2}, {"initialNumberOfMediaNodes": 1.5}),
    *simple("minNumberOfMediaNodes", 1, 0, -1, 1.5),
    *simple("maxNumberOfMediaNodes", 200, 201, 5.5),
    ("maxNumberOfMediaNodes", 1, {"minNumberOfMediaNodes": 5}, {"minNumberOfMediaNodes": 6}),
    ("maxNumberOfMediaNodes", 1, {"minNumberOfMediaNodes": 6, "fixedNumberOfMediaNodes": 1}, {"maxNumberOfMediaNodes": 0}),
    *simple("scaleTargetCPU", 99, 0, 100, 50.5),
    *simple("scale_in_function_image", "fra.ocir.io/tenant/a/sala-scalein:0.1.0", "sala-scalein:0.1.0", "docker.io/x/y:1", "fra.ocir.io/tenant/sala", "<region-key>.ocir.io/ns/repo:main"),
    ("scale_in_function_image", 0, {"scale_in_function_image": f"iad.ocir.io/t/r@sha256:{'0' * 64}"}, {"scale_in_function_image": "iad.ocir.io/t/r@sha256:0"}),
    *simple("certificateType", "selfsigned", "", "self", "LetsEncrypt"),
    *[("certificateType", 1, {"certificateType": "owncert", **OWN}, {"certificateType": "owncert", **OWN, name: ""}) for name in OWN],
    *simple("publicIpAddress", "ocid1.publicip.oc1.eu-frankfurt-1.aaaa", "203.0.113.7", "ocid1.vnic.oc1..aaaa"),
    *simple("domainName", "meet.example.com", "meet", "https://meet.example.com", "Meet.Example.com", "-a.example.com", "meet.example.com.", f"{'a.' * 130}com"),
    *simple("ownPublicCertificate", CERTIFICATE, "-----BEGIN CERTIFICATE-----", KEY, "not base64!"),
    *simple("ownPrivateCertificate", KEY, CERTIFICATE, "not base64!"),
    *simple("acmeDirectoryUrl", "https://127.0.0.1:14000/dir", "http://example.com/dir", "example.com", "https://a b/"),
    *simple("sshAllowedCidrs", ["203.0.113.7/32", "10.0.0.0/8"], ["203.0.113.7"], ["2001:db8::/32"], ["0.0.0.0/33"], ["me"]),
    *simple("initialMeetAdminPassword", "A-z_0", "with space", "ümlaut", "a" * 129, "x\n"),
    *simple("initialMeetApiKey", "A-z_0", "with space", "semi;colon", "a" * 129),
    *simple("rtcEngine", "mediasoup", "", "kurento", "Pion"),
    *simple("additionalInstallFlags", "--acme-email=me@example.com, --log-level=debug", "--flag=$(reboot)", "--flag='x'", "--a;b"),
    *simple("bucketAppDataName", "My_bucket-1.x", "a/b", "with space", "a" * 257),
    *simple("bucketClusterDataName", "My_bucket-1.x", "a/b", "with space", "a" * 257),
    ("bucketClusterDataName", 1, {"bucketClusterDataName": "a", "bucketAppDataName": "b"}, {"bucketClusterDataName": "a", "bucketAppDataName": "a"}),
    *simple("vault_ocid", "ocid1.vault.oc1.eu-frankfurt-1.aaaa", "my-vault", "ocid1.key.oc1..aaaa"),
    *[("key_ocid", 0, {"key_ocid": "ocid1.key.oc1..a", "vault_ocid": "ocid1.vault.oc1..a"}, {"key_ocid": key, "vault_ocid": "ocid1.vault.oc1..a"}) for key in ("my-key", "ocid1.vault.oc1..a")],
    ("key_ocid", 1, {"key_ocid": "ocid1.key.oc1..a", "vault_ocid": "ocid1.vault.oc1..a"}, {"key_ocid": "ocid1.key.oc1..a"}),
    *simple("salaVersion", "1.20.3-rc.1", "", "latest", "v1.0.0", "1.0"),
    *simple("salaBinaryUrl", "https://mirror.example.com:8443/p/Ab-c_d/{arch}", "http://example.com/sala", "https://example.com/a'b", "https://example.com/s?x=1"),
    *simple("salaBinarySha256", {"x86_64": "0" * 64, "aarch64": "f" * 64}, {"x86_64": "0" * 63}, {"amd64": "0" * 64}, {"x86_64": "F" * 64}),
]  # fmt: skip


def validations(module, name):
    return module.variables()[name].named("validation")


def holds(module, name, number, values) -> bool:
    scope = Scope(module, {**MANDATORY, **values})
    try:
        return evaluate(validations(module, name)[number].attributes["condition"].value, scope) is True
    except EvaluationError:
        return False  # Terraform refuses a plan whose condition fails to evaluate, too; but see below.


def test_the_guides_variables_are_there_with_its_defaults(module):
    scope = Scope(module, MANDATORY)
    defaults = {
        name: scope.variables[name] if "default" in block.attributes else None
        for name, block in module.variables().items()
    }
    assert {name: defaults[name] for name in GUIDE} == GUIDE


def test_every_other_variable_has_a_default(module):
    assert set(module.variables()) - set(GUIDE) == OURS
    assert all("default" in module.variables()[name].attributes for name in OURS)


def test_every_variable_has_a_type_and_a_description(module):
    for name, block in module.variables().items():
        assert text_of(block.attributes["type"].value), name
        assert len(text_of(block.attributes["description"].value)) > 20, name


def test_defaults_pass_every_validation(module):
    for name in module.variables():
        for number, _validation in enumerate(validations(module, name)):
            assert holds(module, name, number, {}), f"{name}, validation {number}"


@pytest.mark.parametrize("name, number, good, bad", EXAMPLES)
def test_a_good_value_passes_and_a_bad_one_is_refused(module, name, number, good, bad):
    assert holds(module, name, number, good)
    assert not holds(module, name, number, bad)


def test_every_validation_has_an_example(module):
    tested = {(name, number) for name, number, _good, _bad in EXAMPLES}
    there = {(name, number) for name in module.variables() for number, _ in enumerate(validations(module, name))}
    assert tested == there


def test_conditions_answer_instead_of_failing(module):
    """A condition that fails to evaluate shows Terraform's own words instead of our sentence."""
    for name, number, _good, bad in EXAMPLES:
        scope = Scope(module, {**MANDATORY, **bad})
        assert evaluate(validations(module, name)[number].attributes["condition"].value, scope) is False, (name, bad)


def test_what_is_refused_is_told_in_a_sentence_with_the_variables_name(module):
    for name in module.variables():
        for validation in validations(module, name):
            sentence = evaluate(validation.attributes["error_message"].value, Scope(module, MANDATORY))
            assert sentence.endswith(".") and name in sentence and re.search(r"\bmust\b|\bneeds\b", sentence), sentence


def test_no_secret_has_a_default_and_each_is_marked(module):
    for name, block in module.variables().items():
        if re.search(r"Password|ApiKey|License|PrivateCertificate", name):
            assert text_of(block.attributes["default"].value) == '""', name
            assert text_of(block.attributes["sensitive"].value) == "true", name


def test_the_example_file_names_every_variable_with_its_default(module):
    text = (module.directory / "terraform.tfvars.example").read_text()
    for name, default in GUIDE.items():
        line = next((line for line in text.splitlines() if re.match(rf"(# )?{name} += ", line)), None)
        assert line, f"terraform.tfvars.example does not mention {name}"
        if default not in (None, "", "pion") and name != "openviduLicense":
            assert str(default) in line, line
    for name in OURS:
        assert re.search(rf"^# {name} += ", text, re.M), name


def test_the_release_that_is_installed_is_this_one(module):
    cargo = (module.directory.parent.parent / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.*)"', cargo, re.M)[1]
    assert Scope(module, MANDATORY).variables["salaVersion"] == version
