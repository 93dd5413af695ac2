"""Terraform itself, where it is installed, on the module: it validates, plans, applies, changes and destroys it against
a stand-in for the providers that has their schemas (provider.py)."""

import base64
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import policies
import provider
from evaluate import Scope, evaluate
from test_variables import EXAMPLES, MANDATORY

pytestmark = pytest.mark.skipif(
    not shutil.which("terraform"), reason="terraform is not installed; the other tests stand in for it"
)

SOURCES = ["oracle/oci", "hashicorp/random", "hashicorp/tls"]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", **more}


class Stack:
    """A deployment: its working directory, and the cloud that it is in."""

    def __init__(self, directory: Path, module: Path, schemas):
        self.directory = directory
        self.world = provider.World()
        self.world.data = self.data_sources()
        for path in [*module.glob("*.tf"), *module.glob("*.tftpl")]:
            shutil.copy(path, directory)
        self.variables: dict = dict(MANDATORY)
        self.providers = {}
        for source in SOURCES:
            name = source.split("/")[1]
            self.providers[f"registry.terraform.io/{source}"] = provider.Provider(
                name, schemas, self.world, directory / f"{name}.sock"
            )
        self.environment = environment(TF_REATTACH_PROVIDERS=provider.reattach(self.providers))
        self.terraform("init")

    def terraform(self, *arguments: str, ok: bool = True) -> str:
        (self.directory / "terraform.tfvars.json").write_text(json.dumps(self.variables))
        run = subprocess.run(
            ["terraform", *arguments, *(["-no-color"] if arguments[0] not in ("show", "output") else [])],
            cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (run.returncode == 0) == ok, run.stdout + run.stderr
        return run.stdout if ok else run.stdout + run.stderr

    def apply(self, **variables) -> None:
        self.variables |= variables
        self.terraform("apply", "-auto-approve", "-input=false")

    def plan(self, **variables) -> dict[str, dict]:
        """What would change: address → before, after and actions. Variables are given for this plan only."""
        before, self.variables = self.variables, {**self.variables, **variables}
        self.terraform("plan", "-input=false", "-out=plan")
        self.variables = before
        plan = json.loads(self.terraform("show", "-json", "plan"))
        return {
            change["address"]: change["change"]
            for change in plan["resource_changes"]
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }

    def outputs(self) -> dict:
        return {name: output["value"] for name, output in json.loads(self.terraform("output", "-json")).items()}

    def pool(self) -> dict:
        (pool,) = self.world.of_type("oci_core_instance_pool")
        return pool

    def stop(self) -> None:
        for each in self.providers.values():
            each.stop()

    def data_sources(self) -> dict:
        world = self.world
        return {
            "oci_identity_region_subscriptions": lambda _: {
                "region_subscriptions": [
                    {"region_name": "us-ashburn-1", "is_home_region": True},
                    {"region_name": "eu-frankfurt-1", "is_home_region": False},
                ]
            },
            "oci_identity_regions": lambda _: {
                "regions": [{"key": "IAD", "name": "us-ashburn-1"}, {"key": "FRA", "name": "eu-frankfurt-1"}]
            },
            "oci_identity_availability_domain": lambda config: {"name": f"abcd:EU-FRANKFURT-1-AD-{config['ad_number']}"},
            "oci_identity_fault_domains": lambda _: {
                "fault_domains": [{"name": f"FAULT-DOMAIN-{number}"} for number in (1, 2, 3)]
            },
            "oci_objectstorage_namespace": lambda _: {"namespace": "mytenancy"},
            "oci_core_images": lambda config: {"images": [{"id": f"ocid1.image.oc1..{config['shape']}"}]},
            "oci_core_services": lambda _: {
                "services": [{"id": "ocid1.service.oc1..all", "cidr_block": "all-fra-services-in-oracle-services-network"}]
            },
            "oci_core_instance_pools": lambda config: {
                "instance_pools": [
                    {"size": pool["size"], "state": "SCALING"}
                    for pool in world.of_type("oci_core_instance_pool")
                    if pool["display_name"] == config["display_name"]
                ]
            },
            "oci_core_instances": lambda _: {"instances": []},
            "oci_core_public_ip": lambda _: {"ip_address": "198.51.100.7"},
            "oci_kms_vault": lambda _: {"compartment_id": "ocid1.compartment.oc1..keys"},
        }


@pytest.fixture
def stack(tmp_path, module, schemas):
    stack = Stack(tmp_path, module.directory, schemas)
    yield stack
    stack.stop()


MASTERS = [f'oci_core_instance.master["{number}"]' for number in (1, 2, 3, 4)]


def test_terraform_validates_the_module(stack):
    assert "The configuration is valid" in stack.terraform("validate")


def test_the_guides_four_variables_are_enough_for_a_deployment(stack):
    stack.apply()
    assert stack.plan() == {}, "a second apply changes nothing"
    masters = {master["display_name"]: master for master in stack.world.of_type("oci_core_instance")}
    assert sorted(masters) == [f"openvidu-ha-master-node-{number}" for number in (1, 2, 3, 4)]
    assert {master["fault_domain"] for master in masters.values()} == {f"FAULT-DOMAIN-{number}" for number in (1, 2, 3)}
    subnets = {subnet["id"]: subnet["cidr_block"] for subnet in stack.world.of_type("oci_core_subnet")}
    of_masters = {subnets[master["create_vnic_details"][0]["subnet_id"]] for master in masters.values()}
    assert of_masters == {"10.0.1.0/24"}, "there the masters have fixed addresses"
    (balancer,) = stack.world.of_type("oci_network_load_balancer_network_load_balancer")
    assert subnets[balancer["subnet_id"]] == "10.0.0.0/24", "which the balancer must not be given"
    assert stack.pool()["size"] == 1 and stack.pool()["display_name"] == "openvidu-ha-media-pool"
    (function,) = stack.world.of_type("oci_functions_function")
    assert function["image"] == "fra.ocir.io/mytenancy/sala-scalein:0.1.0"
    assert sorted(function["config"]["MASTER_INSTANCE_OCIDS"].split(",")) == sorted(m["id"] for m in masters.values())
    assert {listener["port"] for listener in stack.world.of_type("oci_network_load_balancer_listener")} == {80, 443, 1935}
    assert all(listener["is_ppv2enabled"] for listener in stack.world.of_type("oci_network_load_balancer_listener"))
    assert len(stack.world.of_type("oci_network_load_balancer_backend")) == 12


# What crates/oci reads from the metadata (boot/identity.rs).
COMMON = {
    "salaRole", "stackName", "deploymentGeneration", "tenancyOcid", "compartmentOcid", "region", "vaultOcid", "keyOcid",
    "objectStorageNamespace", "bucketAppData", "bucketClusterData", "ssh_authorized_keys", "user_data",
}  # fmt: skip
OF_MASTERS = {
    "masterNodeNum", "nlbOcid", "domainName", "certificateType", "ownPublicCertificate", "ownPrivateCertificate",
    "rtcEngine", "initialMeetAdminPassword", "initialMeetApiKey", "additionalInstallFlags", "acmeDirectoryUrl",
}  # fmt: skip


def test_the_machines_are_told_what_boot_reads(stack):
    stack.apply(domainName="meet.example.com", initialMeetAdminPassword="hunter2")
    masters = sorted(stack.world.of_type("oci_core_instance"), key=lambda master: master["display_name"])
    assert all(set(master["metadata"]) == COMMON | OF_MASTERS for master in masters)
    assert [master["metadata"]["masterNodeNum"] for master in masters] == ["1", "2", "3", "4"]
    told = masters[0]["metadata"]
    assert (told["salaRole"], told["domainName"], told["initialMeetAdminPassword"]) == ("master", "meet.example.com", "hunter2")
    assert masters[0]["freeform_tags"] == {
        "sala-stack": "openvidu-ha", "sala-role": "master", "sala-media-mode": "elastic", "sala-min-media-nodes": "1",
        "sala-max-media-nodes": "5", "sala-scale-target-cpu": "50", "sala-scale-out": "on",
    }  # fmt: skip
    (configuration,) = stack.world.of_type("oci_core_instance_configuration")
    launch = configuration["instance_details"][0]["launch_details"][0]
    assert set(launch["metadata"]) == COMMON | {"mastersPrivateIps"}
    assert launch["metadata"]["mastersPrivateIps"] == "10.0.1.11,10.0.1.12,10.0.1.13,10.0.1.14"
    assert launch["freeform_tags"] == {"sala-stack": "openvidu-ha", "sala-role": "media"}


def test_a_change_of_mode_only_changes_the_masters_tags(stack):
    stack.apply()
    changes = stack.plan(fixedNumberOfMediaNodes=2)
    for address in MASTERS:
        change = changes.pop(address)
        assert change["actions"] == ["update"]
        differing = {name for name in change["before"] if change["before"][name] != change["after"].get(name)}
        assert differing == {"freeform_tags"}
        assert change["after"]["freeform_tags"]["sala-media-mode"] == "fixed"
    pool = changes.pop("oci_core_instance_pool.media")
    assert pool["actions"] == ["update"] and pool["after"]["size"] == 2
    # Nodes that were leaving have no function to ask any more.
    assert changes.pop("oci_identity_policy.leftovers[0]")["actions"] == ["create"]
    # What is left are the parts that only an elastic deployment has.
    assert all(change["actions"] == ["delete"] for change in changes.values()), changes
    stack.apply(fixedNumberOfMediaNodes=2)
    assert stack.world.of_type("oci_functions_function") == []
    assert stack.plan() == {}

    stack.apply(fixedNumberOfMediaNodes=0)
    assert stack.pool()["size"] == 2, "back to elastic, the pool keeps the media nodes it has"
    (autoscaling,) = stack.world.of_type("oci_autoscaling_auto_scaling_configuration")
    assert autoscaling["policies"][0]["capacity"][0] == {"initial": 2, "max": 5, "min": 1}


def test_an_apply_leaves_a_pool_that_has_grown_as_it_is(stack):
    stack.apply()
    stack.pool()["size"] = 4
    assert stack.plan() == {}
    changes = stack.plan(scaleTargetCPU=60)
    assert "oci_core_instance_pool.media" not in changes
    assert stack.plan(maxNumberOfMediaNodes=3)["oci_core_instance_pool.media"]["after"]["size"] == 3
    assert stack.plan(minNumberOfMediaNodes=5, initialNumberOfMediaNodes=5)["oci_core_instance_pool.media"]["after"]["size"] == 5


def test_a_newer_ubuntu_or_binary_does_not_replace_masters(stack):
    stack.apply()
    stack.world.data["oci_core_images"] = lambda _: {"images": [{"id": "ocid1.image.oc1..newer"}]}
    changes = stack.plan(salaVersion="0.2.0")
    assert not set(MASTERS) & set(changes)
    assert changes["oci_core_instance_configuration.media"]["actions"] == ["update"]


def test_destroy_ends_the_pool_while_masters_and_function_can_still_sweep(stack):
    stack.apply()
    stack.world.events.clear()
    stack.terraform("destroy", "-auto-approve", "-input=false")
    assert stack.world.resources == {}
    order = [type for _event, type, _state in stack.world.events]
    pool = order.index("oci_core_instance_pool")
    for later in (
        "oci_core_instance", "oci_functions_function", "oci_identity_policy", "oci_identity_dynamic_group",
        "oci_kms_vault", "oci_core_subnet", "oci_core_service_gateway",
    ):  # fmt: skip
        assert pool < order.index(later), later
    rules = [at for at, (_event, _type, state) in enumerate(stack.world.events) if state.get("direction") == "INGRESS"]
    assert pool < min(rules)
    last_master = len(order) - 1 - order[::-1].index("oci_core_instance")
    locks = [at for at, (_event, _type, state) in enumerate(stack.world.events) if str(state.get("object")).endswith(".lock")]
    assert last_master < min(locks), "a master that lives would write its lock again, and the bucket would not be empty"


def test_what_is_the_operators_is_used_and_never_deleted(stack):
    stack.apply(
        bucketAppDataName="my-recordings", bucketClusterDataName="my-cluster", vault_ocid="ocid1.vault.oc1..mine",
        key_ocid="ocid1.key.oc1..mine", publicIpAddress="ocid1.publicip.oc1..mine",
    )  # fmt: skip
    for type in ("oci_objectstorage_bucket", "oci_kms_vault", "oci_core_public_ip"):
        assert stack.world.of_type(type) == []
    master = stack.world.of_type("oci_core_instance")[0]["metadata"]
    assert (master["vaultOcid"], master["keyOcid"]) == ("ocid1.vault.oc1..mine", "ocid1.key.oc1..mine")
    assert (master["bucketAppData"], master["bucketClusterData"]) == ("my-recordings", "my-cluster")
    (vault_policy,) = [p for p in stack.world.of_type("oci_identity_policy") if p["name"] == "openvidu-ha-vault-policy"]
    assert vault_policy["compartment_id"] == "ocid1.compartment.oc1..keys", "the Vault may be in another compartment"
    assert stack.outputs()["url"] == "https://198-51-100-7.sslip.io/"


def test_the_url_is_the_one_that_the_masters_derive(stack):
    stack.apply()
    assert stack.outputs()["url"] == "https://203-0-113-9.sslip.io/"
    stack.apply(additionalInstallFlags="--log-level=debug, --certificate-for=ip")
    assert stack.outputs()["url"] == "https://203.0.113.9/"
    stack.apply(domainName="meet.example.com")
    assert stack.outputs()["url"] == "https://meet.example.com/"
    assert "203.0.113.9" in stack.outputs()["next_step"]


def test_arm_and_fixed_shapes(stack):
    changes = stack.plan(masterNodeShape="VM.Standard.A1.Flex", mediaNodeShape="BM.Standard.A1.160")
    master = changes[MASTERS[0]]["after"]
    assert master["source_details"][0]["source_id"] == "ocid1.image.oc1..VM.Standard.A1.Flex"
    assert master["shape_config"][0]["ocpus"] == 2
    launch = changes["oci_core_instance_configuration.media"]["after"]["instance_details"][0]["launch_details"][0]
    assert launch["shape_config"] == [], "OCPUs and memory are for Flex shapes only"
    assert decoded(launch["metadata"]["user_data"]).count("sala-linux-aarch64") == 2


def test_a_binary_of_ones_own_is_uploaded_and_checked(stack):
    (stack.directory / "sala-x86_64").write_text("binary")
    stack.apply(salaBinaryFile="sala-{arch}")
    script = decoded(stack.world.of_type("oci_core_instance")[0]["metadata"]["user_data"])
    assert "https://objectstorage.eu-frankfurt-1.oraclecloud.com/p/secret/n/namespace/b/bucket/o/object'" in script
    sha256 = "9a3a45d01531a20e89ac6ae10b0b0beb0492acd7216a368aa062d1a5fecaf9cd"
    assert f"expected='{sha256}'" in script


def decoded(user_data: str) -> str:
    return base64.b64decode(user_data).decode()


def test_ssh_opens_without_touching_the_machines(stack):
    stack.apply()
    changes = stack.plan(sshAllowedCidrs=["203.0.113.7/32"])
    assert {address.split(".")[0] for address in changes} == {"oci_core_network_security_group_security_rule"}
    assert all(change["actions"] == ["create"] for change in changes.values()) and len(changes) == 2


def test_the_function_image_must_be_of_the_region(stack):
    stack.variables["scale_in_function_image"] = "iad.ocir.io/mytenancy/sala-scalein:0.1.0"
    told = " ".join(stack.terraform("plan", "-input=false", ok=False).split())
    assert "must be in the registry of the deployment's region: fra.ocir.io" in told.replace("│ ", "")


def test_the_policies_are_those_that_the_rehearsal_gets(stack):
    stack.apply(stackName="demo")
    masters = {master["display_name"]: master["id"] for master in stack.world.of_type("oci_core_instance")}
    (function,) = stack.world.of_type("oci_functions_function")
    (vault,) = stack.world.of_type("oci_kms_vault")
    rendered = policies.render(
        stack="demo", compartment=MANDATORY["compartment_ocid"], vault=vault["id"], function=function["id"],
        bucket=stack.world.of_type("oci_core_instance")[0]["metadata"]["bucketClusterData"],
        masters=[masters[f"demo-master-node-{number}"] for number in (1, 2, 3, 4)],
    )  # fmt: skip
    applied = {policy["name"]: policy["statements"] for policy in stack.world.of_type("oci_identity_policy")}
    assert applied == {policy["name"]: [s["text"] for s in policy["statements"]] for policy in rendered["policies"]}
    groups = {group["name"]: group["matching_rule"] for group in stack.world.of_type("oci_identity_dynamic_group")}
    assert groups == {group["name"]: group["matchingRule"] for group in rendered["dynamicGroups"]}


def test_terraform_refuses_the_bad_values_and_takes_the_good_ones(tmp_path, module):
    """The same examples as in test_variables.py, judged by Terraform instead of by our evaluator."""
    for path in module.directory.glob("variables-*.tf"):
        shutil.copy(path, tmp_path)

    def refusals(values: dict) -> str:
        arguments = [f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in {**MANDATORY, **values}.items()]
        run = subprocess.run(
            ["terraform", "plan", "-input=false", "-no-color", "-lock=false", *arguments],
            cwd=tmp_path, env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        return " ".join(run.stderr.split())

    def judge(example) -> str | None:
        name, number, good, bad = example
        sentence = module.variables()[name].named("validation")[number].attributes["error_message"]
        sentence = " ".join(evaluate(sentence.value, Scope(module, MANDATORY)).split())
        if sentence not in refusals(bad):
            return f"{name}: {bad} is not refused with its sentence"
        if sentence in refusals(good):
            return f"{name}: {good} is refused"
        return None

    with ThreadPoolExecutor(2) as pool:
        assert [problem for problem in pool.map(judge, EXAMPLES) if problem] == []
