"""Rights: each is justified, none is wider than a named permission, and the rehearsal can have exactly these."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import policies

STACK = {
    "stack": "demo",
    "compartment": "ocid1.compartment.oc1..stack",
    "vault": "ocid1.vault.oc1..v",
    "bucket": "demo-clusterdata-abc",
    "masters": [f"ocid1.instance.oc1..m{number}" for number in (1, 2, 3, 4)],
    "function": "ocid1.fnfunc.oc1..f",
}

# allow dynamic-group NAME to {PERMISSION, …} in compartment id OCID [where CONDITION]
CONDITION = r"(?:all \{)?[a-z.]+ = '[^']+'(?:, [a-z.]+ = '[^']+')*\}?"
STATEMENT = re.compile(
    rf"allow dynamic-group ([\w-]+) to \{{([A-Z_]+(?:, [A-Z_]+)*)\}} in compartment id (\S+)(?: where ({CONDITION}))?"
)


def all_statements(rendered):
    return [statement for policy in rendered["policies"] for statement in policy["statements"]]


def test_every_statement_has_its_reason_beside_it():
    fixed = policies.render(**{**STACK, "function": ""}, fixed=2)
    for statement in [*all_statements(policies.render(**STACK)), *all_statements(fixed)]:
        assert len(statement["why"]) > 30 and statement["why"].endswith("."), statement["id"]
        assert re.match(r"(Boot|Scale-in|Scale-out|The (sweep|end|decision|drain|metrics)|Termination)\b", statement["why"]), statement


def test_statements_name_permissions_one_by_one_and_no_verb():
    for statement in all_statements(policies.render(**STACK)):
        assert STATEMENT.fullmatch(statement["text"]), statement["text"]


def test_no_permission_is_granted_twice():
    seen = set()
    for statement in all_statements(policies.render(**STACK)):
        group, permissions, compartment, condition = STATEMENT.fullmatch(statement["text"]).groups()
        for permission in permissions.split(", "):
            assert (group, permission, compartment, condition) not in seen, (statement["id"], permission)
            seen.add((group, permission, compartment, condition))


def test_no_right_goes_beyond_the_compartments_of_stack_and_vault():
    rendered = policies.render(**STACK, vault_compartment="ocid1.compartment.oc1..keys")
    for policy in rendered["policies"]:
        assert policy["compartmentId"] in ("ocid1.compartment.oc1..stack", "ocid1.compartment.oc1..keys")
        for statement in policy["statements"]:
            assert f"in compartment id {policy['compartmentId']}" in statement["text"]
            assert " in tenancy" not in statement["text"]
    (vault,) = [policy for policy in rendered["policies"] if policy["name"] == "demo-vault-policy"]
    assert vault["compartmentId"] == "ocid1.compartment.oc1..keys"


def test_the_machines_cannot_read_the_ssh_key_nor_end_anything():
    for statement in all_statements(policies.render(**STACK)):
        group, permissions, _compartment, condition = STATEMENT.fullmatch(statement["text"]).groups()
        if "OBJECT_" in permissions:
            assert re.search(r"target\.object\.name = '(boot|scalein|scaleout)\.lock'", condition), statement["text"]
        if group != "demo-scalein-fn-dg":
            assert not re.search(r"INSTANCE_(DELETE|UPDATE|POWER)|INSTANCE_POOL_(DELETE|INSTANCE_DETACH)", permissions)


def test_only_the_stacks_own_function_may_be_called():
    for statement in all_statements(policies.render(**STACK)):
        if "FN_INVOCATION" in statement["text"]:
            assert statement["text"].endswith("where target.function.id = 'ocid1.fnfunc.oc1..f'")


def test_masters_and_function_are_named_one_by_one():
    groups = {group["name"]: group["matchingRule"] for group in policies.render(**STACK)["dynamicGroups"]}
    assert groups["demo-masters-dg"] == (
        "ANY {" + ", ".join(f"instance.id = 'ocid1.instance.oc1..m{number}'" for number in (1, 2, 3, 4)) + "}"
    )
    assert groups["demo-scalein-fn-dg"] == "ALL {resource.type = 'fnfunc', resource.id = 'ocid1.fnfunc.oc1..f'}"
    assert "instance.id != 'ocid1.instance.oc1..m1'" in groups["demo-media-dg"]


def test_a_fixed_deployment_has_no_right_that_scales():
    rendered = policies.render(**{**STACK, "function": ""}, fixed=2)
    assert [group["name"] for group in rendered["dynamicGroups"]] == ["demo-masters-dg", "demo-media-dg"]
    text = json.dumps(rendered)
    assert not re.search(r"FN_|INSTANCE_POOL_(UPDATE|INSTANCE)|METRIC_READ|scale(in|out)\.lock", text)


def test_only_without_a_function_masters_may_end_instances():
    fixed = all_statements(policies.render(**{**STACK, "function": ""}, fixed=2))
    (ending,) = [statement for statement in fixed if "INSTANCE_DELETE" in statement["text"]]
    assert ending["id"] == "masters-end-leftovers" and " demo-masters-dg " in ending["text"]
    elastic = all_statements(policies.render(**STACK))
    (ending,) = [statement for statement in elastic if "INSTANCE_DELETE" in statement["text"]]
    assert " demo-scalein-fn-dg " in ending["text"]


def test_the_command_prints_the_same():
    arguments = [f"--{name}={','.join(value) if isinstance(value, list) else value}" for name, value in STACK.items()]
    script = Path(policies.__file__)
    run = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == policies.render(**STACK)


@pytest.mark.parametrize("wrong, told", [({"masters": ["a"]}, "there are 4 masters, not 1"), ({"function": ""}, "has a function")])
def test_nonsense_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        policies.render(**{**STACK, **wrong})
