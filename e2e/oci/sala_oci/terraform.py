"""What Terraform makes of the module in deploy/oci, read from its own source: metadata, tags, policies, the function's
configuration, the balancer. The rehearsal has nothing of its own where the module says something."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

MODULE = Path(__file__).resolve().parents[3] / "deploy" / "oci"
sys.path.append(str(MODULE / "check"))

from evaluate import Scope, evaluate  # noqa: E402
from hcl import Module  # noqa: E402
from policies import render  # noqa: E402


@dataclass
class Deployment:
    """A module with variables, and what OCI has answered about what exists."""

    variables: dict
    region: str
    tenancy: str
    compartment: str
    namespace: str
    vault: str
    balancer: str
    generation: str
    masters: list[str]
    function: str
    _module: Module = field(default_factory=lambda: Module.load(MODULE))

    def __post_init__(self) -> None:
        given = {
            "tenancy_ocid": self.tenancy, "compartment_ocid": self.compartment, "region": self.region,
            "user_ocid": "ocid1.user.oc1..operator", **self.variables,
        }
        self.stack = given["stackName"]
        self.scope = Scope(self._module, given, {
            "local.namespace": self.namespace,
            "local.vault_id": self.vault,
            "local.vault_compartment_id": self.compartment,
            "local.deployment_generation": self.generation,
            "local.cloud_init": {"x86_64": "", "aarch64": ""},
            "local.bucket_app_data": self.bucket("appdata"),
            "local.bucket_cluster_data": self.bucket("clusterdata"),
            "tls_private_key": {"ssh": {"public_key_openssh": "ssh-rsa AAAA rehearsal"}},
            "oci_network_load_balancer_network_load_balancer": {"stack": {"id": self.balancer}},
            "oci_core_instance": {"master": {str(n): {"id": id} for n, id in enumerate(self.masters, 1)}},
            "oci_functions_function": {"scale_in": [{"id": self.function}]},
        })

    def bucket(self, what: str) -> str:
        return f"{self.stack}-{what}"

    def _block(self, type: str, name: str):
        return self._module.resources()["resource", type, name]

    def _value(self, block, attribute: str, **names):
        return evaluate(block.attributes[attribute].value, self.scope.with_names(names))

    def master(self, number: int) -> dict:
        """Name, metadata and tags of a master."""
        block = self._block("oci_core_instance", "master")
        each = {"each": {"key": str(number)}}
        return {
            "displayName": self._value(block, "display_name", **each),
            "metadata": texts(self._value(block, "metadata", **each)),
            "freeformTags": texts(self._value(block, "freeform_tags", **each)),
        }

    def scaling_tags(self, **variables) -> dict:
        """Those that an apply with other variables sets."""
        scope = self.scope.with_names({})
        scope.variables = {**scope.variables, **variables}
        scope.cache = {}
        return texts(scope.local("scaling_tags"))

    def pool(self, master_addresses: list[str]) -> dict:
        launch = self._block("oci_core_instance_configuration", "media").blocks[0].blocks[0]
        names = {"local.master_private_ips": {str(n): ip for n, ip in enumerate(master_addresses, 1)}}
        return {
            "displayName": self._value(self._block("oci_core_instance_pool", "media"), "display_name"),
            "instance": {
                "metadata": texts(self._value(launch, "metadata", **names)),
                "freeformTags": texts(self._value(launch, "freeform_tags")),
            },
        }

    def function_config(self) -> dict:
        return texts(self._value(self._block("oci_functions_function", "scale_in"), "config"))

    def names(self) -> dict:
        application = self._block("oci_functions_application", "scale_in")
        return {
            "application": self._value(application, "display_name"),
            "function": self._value(self._block("oci_functions_function", "scale_in"), "display_name"),
            "balancer": self._value(self._block("oci_network_load_balancer_network_load_balancer", "stack"), "display_name"),
        }

    def health_check(self) -> dict:
        block = self._block("oci_network_load_balancer_backend_set", "masters")
        check = next(inner for inner in block.blocks if inner.type == "health_checker")
        value = lambda name: self._value(check, name)  # noqa: E731
        return {
            "protocol": value("protocol"), "port": value("port"), "urlPath": value("url_path"),
            "intervalMillis": value("interval_in_millis"), "timeoutMillis": value("timeout_in_millis"),
            "retries": value("retries"),
        }

    def public_ports(self) -> dict:
        return self.scope.local("public_ports")

    def locks(self) -> dict:
        """Objects that Terraform makes, so that destroy removes them."""
        block = self._block("oci_objectstorage_object", "lock")
        names = evaluate(block.attributes["for_each"].value, self.scope)
        content = lambda name: self._value(block, "content", each={"key": name, "value": name})  # noqa: E731
        return {self._value(block, "object", each={"key": n, "value": n}): content(n) for n in sorted(names)}

    def iam(self, fixed: int = 0) -> dict:
        """Dynamic groups and policies, each statement with its id. `fixed`: fixedNumberOfMediaNodes."""
        return render(
            stack=self.stack, compartment=self.compartment, vault=self.vault, bucket=self.bucket("clusterdata"),
            masters=self.masters, function="" if fixed else self.function, fixed=fixed, module=self._module,
        )


def texts(values: dict) -> dict:
    return {name: str(value) for name, value in values.items()}
