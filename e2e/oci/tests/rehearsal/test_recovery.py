"""Masters that die at steps of their first boot, in a cloud that throttles and fails, still form one cluster."""

import random
import threading
import time

from sala_oci.simulator import wait_until

# Each kills one master: the first that comes by.
DEATHS = [
    ("PutObject", {"isDone": True}, {"path": "boot.lock"}),
    ("CreateKey", {"isDone": True}, {}),
    ("CreateSecret", {"isDone": False}, {"skip": 1}),
    ("CreateSecret", {"isDone": True}, {"skip": 4}),
    ("CreateSecret", {"isDone": True}, {"skip": 9}),
    ("GetSecretBundleByName", {"isDone": True}, {"skip": 12}),
]
# Of all calls to the cloud's services.
TROUBLE = [
    {"kind": "error", "status": 429, "code": "TooManyRequests", "retryAfterSeconds": 1},
    {"kind": "error", "status": 503, "code": "ServiceUnavailable"},
    {"kind": "error", "status": 500, "code": "InternalServerError"},
    {"kind": "drop", "isDone": True},
]
TROUBLED = [
    "GetVault", "ListKeys", "CreateKey", "ListSecrets", "CreateSecret", "UpdateSecret", "GetSecretBundleByName",
    "GetSecretBundle", "GetObject", "PutObject", "GetNetworkLoadBalancer", "FederateX509",
]


def test_masters_killed_on_the_way_and_a_cloud_that_fails_make_one_cluster(new_stack, measure):
    stack = new_stack("broken", paced=False, certificateType="selfsigned")
    for operation in TROUBLED:
        for fault in TROUBLE:
            stack.cloud.fault(operation, fault, probability=0.08)
    for operation, fault, where in DEATHS:
        stack.cloud.fault(operation, {"kind": "killCaller", **fault}, caller="master", times=1, **where)
    begun = time.monotonic()
    for number in random.sample([1, 2, 3, 4], 4):
        stack.start_master(number)
    reviver = Reviver(stack)
    try:
        # Two more die by the step that their progress names.
        for step in ("store", "start"):
            wait_until(lambda: kill_at(stack, step), 180, f"a master at the step {step}")
        stack.await_serving(300)
    finally:
        reviver.stop()
    measure("recovery: apply to four healthy masters", time.monotonic() - begun)
    faults = stack.cloud.admin("GET", "faults")
    struck = [call for call in stack.cloud.calls() if call.get("fault")]
    failed = [call for call in struck if "KillCaller" not in call["fault"]]
    measure("recovery: masters that died and came back", len(reviver.revived))
    measure("recovery: calls that failed", len(failed))
    assert len(reviver.revived) >= 4 and len(failed) >= 5, faults
    # One cluster: one set of secrets, one store.
    settings = {stack.text(master, "/opt/openvidu/config/openvidu.env") for master in stack.masters}
    assert len(settings) == 1
    clusters = {stack.text(master, "/etc/sala/sala.yaml").split("\n  id: ")[1].split("\n")[0] for master in stack.masters}
    assert len(clusters) == 1
    assert stack.secrets()["ALL_SECRETS_GENERATED"] == stack.deployment.generation
    assert stack.lock("boot.lock")["store_formed"] == stack.deployment.generation
    # There is no media node that could serve the page; the masters are whole.
    assert stack.get(stack.env("openvidu.env")["OPENVIDU_URL"] + "healthz").status == 200


def kill_at(stack, step: str) -> str | None:
    for master in stack.masters:
        progress = stack.text(master, "/var/lib/sala/boot.json")
        if f'"step": "{step}"' in progress and stack.cloud.instance(master)["power"] == "on":
            stack.cloud.admin("POST", f"instances/{master}/kill")
            return master
    return None


class Reviver:
    """Resets machines that have died, as OCI's recovery does."""

    def __init__(self, stack) -> None:
        self.stack, self.revived = stack, []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(0.5):
            for one in self.stack.cloud.state()["instances"]:
                if one["power"] == "dead" and one["state"] == "RUNNING":
                    self.stack.cloud.admin("POST", f"instances/{one['id']}/reset")
                    self.revived.append(one["displayName"])

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)
