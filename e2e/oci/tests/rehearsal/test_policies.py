"""Each policy statement is needed, and all together suffice. One deployment with a hurried cloud: a statement is taken away,
the step that its comment names stops with a clear line, and goes on when it is back."""

import json
from dataclasses import dataclass

import pytest

from sala_oci import guide
from sala_oci.scaling import is_gone, marked, resize, scale_in_calls, serving, tag
from sala_oci.simulator import wait_until

NO_DELAYS = {
    "iamSeconds": 0, "membershipSeconds": 0, "vaultManagementSeconds": 0, "keySeconds": 0, "secretSeconds": 0,
    "secretVisibleSeconds": 0, "provisionSeconds": 0, "stopSeconds": 0, "poolSeconds": 0, "imdsTagsSeconds": 0,
    "balancerSeconds": 0,
}
LINE_LIMIT_S = 45


@pytest.fixture(scope="module")
def guarded(new_stack):
    """Nothing is started yet."""
    return new_stack("guarded", paced=True, delays=NO_DELAYS, certificateType="selfsigned", maxNumberOfMediaNodes=3)


@dataclass
class Step:
    """Without `statement` the unit's log on one of these machines has `line`."""

    statement: str
    unit: str
    line: str
    # What the unit asks for once and then remembers.
    anew: bool = False


# In the order in which a boot comes by.
MASTERS_BOOT = [
    Step("masters-vault", "sala-boot", "waiting for access to the Vault"),
    Step("masters-secrets", "sala-boot", "waiting for access to the Vault"),
    Step("masters-boot-lock", "sala-boot", "waiting for the secrets of deployment"),
    Step("masters-balancer", "sala-boot", "waiting for the public address of the network load balancer"),
    Step("masters-key", "sala-boot", "waiting for the key guarded-key of the Vault"),
    Step("masters-secret-values", "sala-boot", "waiting for the secret"),
]
MEDIA_BOOT = [
    # What may not be read and what is not there look the same.
    Step("media-secret-values", "sala-boot", "waiting for the secrets of deployment"),
    Step("media-address", "sala-boot", "waiting for this machine's public address"),
]
# What masters do in each cycle, and for the need that a target of 1 % CPU makes.
CYCLE = [
    Step("masters-scale-in-lock", "sala", "the lock cannot be read"),
    Step("masters-find-function", "sala", "the scale-in function was not called", anew=True),
    Step("masters-call-function", "sala", "the scale-in function was not called"),
    Step("masters-see-pool", "sala", "orphans cannot be looked for"),
    Step("masters-see-instances", "sala", "orphans cannot be looked for"),
]
NEED = [
    Step("masters-scale-out-lock", "sala", "the lock cannot be read"),
    Step("masters-grow-pool", "sala", "the pool's size cannot be raised"),
]
FUNCTION = ["function-metrics", "function-pool", "function-instances"]
LEAVING = [
    Step("media-see-pool", "sala-drain-watch", "whether this instance is in its pool cannot be found out"),
    Step("media-find-function", "sala-drain-watch", "the function did not answer; asking again"),
    Step("media-call-function", "sala-drain-watch", "the function did not answer; asking again"),
]
# What is left of a deployment that was elastic when it becomes a fixed one.
LEFT_OVER = [
    Step("masters-see-pool-when-fixed", "sala", "orphans cannot be looked for"),
    Step("masters-see-instances-when-fixed", "sala", "orphans cannot be looked for"),
    Step("masters-end-leftovers", "sala", "an orphan could not be ended"),
]
ELSEWHERE = {"masters-post-metrics", "function-terminate"}


class Watch:
    """Finds a line that is new since `begin`."""

    def __init__(self, stack) -> None:
        self.stack, self.seen = stack, {}

    def begin(self, machines: list[str], unit: str) -> None:
        self.seen = {machine: len(self.stack.log(machine, unit)) for machine in machines}

    def line(self, unit: str, text: str, what: str) -> str:
        def found():
            for machine, since in self.seen.items():
                fresh = self.stack.log(machine, unit)[since:]
                if at := next((line for line in fresh.splitlines() if text in line), None):
                    return at
            return None

        line = wait_until(found, LINE_LIMIT_S, f"without {what}: `{text}` in the log of {unit}")
        assert guide.is_promised(unit, line), f"{guide.GUIDE.name} does not say what to do about: {line}"
        return line


def test_every_statement_is_tried():
    from sala_oci.terraform import Deployment

    steps = [*MASTERS_BOOT, *MEDIA_BOOT, *CYCLE, *NEED, *LEAVING, *LEFT_OVER]
    tried = {step.statement for step in steps} | set(FUNCTION) | ELSEWHERE
    deployment = Deployment(
        {"stackName": "guarded"}, "eu-frankfurt-1", "t", "c", "n", "v", "b", "g", ["1", "2", "3", "4"], "f",
    )
    policies = [policy for fixed in (0, 1) for policy in deployment.iam(fixed)["policies"]]
    assert tried == {statement["id"] for policy in policies for statement in policy["statements"]}


def test_a_master_that_lacks_a_right_says_at_which_step_and_goes_on_when_it_has_it(guarded, measure):
    stack, watch = guarded, Watch(guarded)
    stack.without(MASTERS_BOOT[0].statement)
    for number in range(1, 5):
        stack.start_master(number)
    for step, after in zip(MASTERS_BOOT, [*MASTERS_BOOT[1:], None]):
        if step is MASTERS_BOOT[0]:
            watch.seen = dict.fromkeys(stack.masters, 0)
        line = watch.line(step.unit, step.line, step.statement)
        assert "check:" in line, line
        watch.begin(stack.masters, "sala-boot")
        stack.without(*([after.statement] if after else []))
    stack.await_serving()
    measure("policies: statements of the masters' boot", len(MASTERS_BOOT))


def test_so_does_a_media_node(guarded):
    stack, watch = guarded, Watch(guarded)
    stack.await_serving()
    stack.start_function()
    stack.without(MEDIA_BOOT[0].statement)
    stack.start_pool(1)
    node = wait_until(lambda: stack.media(), of="the media node")[0]["id"]
    watch.seen = {node: 0}
    for step, after in zip(MEDIA_BOOT, [*MEDIA_BOOT[1:], None]):
        assert "check:" in watch.line(step.unit, step.line, step.statement)
        watch.begin([node], "sala-boot")
        stack.without(*([after.statement] if after else []))
    wait_until(lambda: serving(stack), 120, "the media node serves")


@pytest.mark.parametrize("step", CYCLE, ids=lambda step: step.statement)
def test_a_turn_stops_without(guarded, step):
    stack, watch = guarded, Watch(guarded)
    watch.begin(stack.masters, step.unit)
    stack.without(step.statement)
    try:
        if step.anew:
            for master in stack.masters:
                assert stack.run(master, "systemctl", "restart", step.unit)["code"] == 0
        watch.line(step.unit, step.line, step.statement)
    finally:
        stack.without()


@pytest.mark.parametrize("statement", FUNCTION)
def test_the_function_keeps_all_nodes_without(guarded, statement):
    stack = guarded
    known = len(scale_in_calls(stack))
    stack.without(statement)
    try:
        call = wait_until(
            lambda: next((one for one in scale_in_calls(stack)[known + 1 :] if one["answer"]), None), LINE_LIMIT_S, "an answer"
        )
        assert call["answer"]["decision"] == "kept"
        assert "404" in call["answer"]["reason"] or "NotAuthorizedOrNotFound" in call["answer"]["reason"], call
    finally:
        stack.without()


@pytest.mark.parametrize("step", NEED, ids=lambda step: step.statement)
def test_scale_out_stops_without(guarded, step):
    stack, watch = guarded, Watch(guarded)
    watch.begin(stack.masters, step.unit)
    stack.without(step.statement)
    tag(stack, scaleTargetCPU=1)
    try:
        watch.line(step.unit, step.line, step.statement)
        assert stack.pool()["size"] == 1
    finally:
        tag(stack, scaleOutByMasters=False)
        stack.without()


def test_metrics_are_not_posted_without(guarded):
    stack = guarded
    stack.without("masters-post-metrics")
    try:
        since = stack.cloud.state()["lastCall"]
        refused = lambda: [one for one in stack.cloud.calls("PostMetricData", since) if one["status"] == 404]  # noqa: E731
        wait_until(refused, 90, "a refused PostMetricData")
    finally:
        stack.without()
    assert "the cluster's load is not posted as metrics" in stack.logs("sala")


def test_a_node_that_leaves_needs_its_rights_and_the_function_its_own(guarded):
    """One node leaves; each right is missing in turn until it may end."""
    stack, watch = guarded, Watch(guarded)
    resize(stack, 2)
    wait_until(lambda: len(serving(stack)) == 2, 120, "two media nodes serve")
    former = marked(stack)
    stack.without("media-see-pool")
    node = wait_until(lambda: marked(stack) - former, 120, "a node that leaves").pop()
    for step, after in zip(LEAVING, [*LEAVING[1:], None]):
        watch.line(step.unit, step.line, step.statement) if watch.seen else watch.begin([node], "sala-drain-watch")
        watch.begin([node], step.unit)
        stack.without(after.statement if after else "function-terminate")
    known = len(stack.calls_of_function())

    def refusal():
        calls = stack.calls_of_function()[known:]
        return next((one for one in calls if one["ask"]["action"] in ("terminate", "sweep") and one["answer"]), None)

    refused = wait_until(refusal, LINE_LIMIT_S, "a refused end")
    assert refused["answer"]["decision"] == "kept", json.dumps(refused)
    assert not is_gone(stack, node)
    stack.without()
    wait_until(lambda: is_gone(stack, node), 60, "the end, with all statements")


def test_masters_of_a_fixed_deployment_need_theirs_to_end_what_is_left(guarded):
    """A node leaves that cannot end itself; then the number of nodes is fixed, and each right is missing in turn."""
    stack, watch = guarded, Watch(guarded)
    resize(stack, 2)
    wait_until(lambda: len(serving(stack)) == 2, 120, "two media nodes serve")
    former = marked(stack)
    stack.without("media-call-function")
    node = wait_until(lambda: marked(stack) - former, 120, "a node that leaves").pop()
    stack.document = stack.deployment.iam(1)
    stack.without(LEFT_OVER[0].statement)
    watch.begin(stack.masters, LEFT_OVER[0].unit)
    tag(stack, fixedNumberOfMediaNodes=1)
    for step, after in zip(LEFT_OVER, [*LEFT_OVER[1:], None]):
        watch.line(step.unit, step.line, step.statement)
        assert not is_gone(stack, node)
        watch.begin(stack.masters, step.unit)
        stack.without(*([after.statement] if after else []))
    wait_until(lambda: is_gone(stack, node), 60, "the end, with all statements")
