"""Prints the dynamic groups and policies that a deployment would get, as JSON.

    python3 policies.py --stack demo --compartment ocid1.compartment.oc1..a --vault ocid1.vault.oc1..v \\
        --bucket demo-clusterdata --masters ID1,ID2,ID3,ID4 --function ocid1.fnfunc.oc1..f

The rehearsal's simulator enforces exactly these, so that what passes there is what Terraform grants.
"""

import argparse
import json
from pathlib import Path

from evaluate import Scope, evaluate
from hcl import Module, comment_above

MODULE = Path(__file__).resolve().parent.parent


def render(
    *,
    stack: str,
    compartment: str,
    vault: str,
    bucket: str,
    masters: list[str],
    function: str = "",
    vault_compartment: str = "",
    fixed: int = 0,
    module: Module | None = None,
) -> dict:
    """`fixed`: fixedNumberOfMediaNodes. Without it a function is needed, since the policies name it."""
    if len(masters) != 4:
        raise ValueError(f"there are 4 masters, not {len(masters)}")
    if not fixed and not function:
        raise ValueError("an elastic deployment has a function: give its OCID, or a fixed number of media nodes")
    module = module or Module.load(MODULE)
    scope = Scope(
        module,
        {"stackName": stack, "compartment_ocid": compartment, "fixedNumberOfMediaNodes": fixed},
        {
            "local.vault_id": vault,
            "local.vault_compartment_id": vault_compartment or compartment,
            "local.bucket_cluster_data": bucket,
            "oci_core_instance": {"master": {str(n): {"id": id} for n, id in enumerate(masters, 1)}},
            "oci_functions_function": {"scale_in": [] if fixed else [{"id": function}]},
        },
    )
    groups = [
        {"name": value(block, "name", scope), "matchingRule": value(block, "matching_rule", scope)}
        for block in existing(module, "oci_identity_dynamic_group", scope)
    ]
    policies = [
        {
            "name": value(block, "name", scope),
            "compartmentId": value(block, "compartment_id", scope),
            "statements": statements(block, scope),
        }
        for block in existing(module, "oci_identity_policy", scope)
    ]
    return {"dynamicGroups": groups, "policies": policies}


def existing(module, type, scope):
    """Blocks of that type, without those whose count is 0."""
    for (kind, of_type, _name), block in module.resources().items():
        if (kind, of_type) == ("resource", type):
            count = block.attributes.get("count")
            if count is None or evaluate(count.value, scope) > 0:
                yield block


def value(block, attribute, scope):
    return evaluate(block.attributes[attribute].value, scope)


def statements(block, scope) -> list[dict]:
    texts = value(block, "statements", scope)
    by_text = {source["text"]: source for source in sources(scope)}
    return [by_text[text] for text in texts]


def sources(scope) -> list[dict]:
    """Every statement with its name and the comment that justifies it."""
    path = scope.module.directory / "policy-statements.tf"
    lines = path.read_text().splitlines()
    found = []
    for name in ("machine_statements", "vault_statements", "scaling_statements", "leftover_statements"):
        for id, text in scope.local(name).items():
            at = next(number for number, line in enumerate(lines, 1) if line.strip().startswith(f"{id} ="))
            found.append({"id": id, "text": text, "why": comment_above(lines, at)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--compartment", required=True)
    parser.add_argument("--vault", required=True)
    parser.add_argument("--vault-compartment", default="", help="where the Vault is, if not in the compartment")
    parser.add_argument("--bucket", required=True, help="the cluster-data bucket")
    parser.add_argument("--masters", required=True, type=lambda text: text.split(","), help="4 OCIDs with commas")
    parser.add_argument("--function", default="", help="OCID of the scale-in function")
    parser.add_argument("--fixed", type=int, default=0, help="fixedNumberOfMediaNodes")
    try:
        print(json.dumps(render(**vars(parser.parse_args())), indent=2))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
