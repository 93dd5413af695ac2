"""Scale-in in a cloud that throttles and fails."""

import json
import time

from sala_oci.scaling import is_gone, marked, once_per_cycle, resize, scale_in_calls, serving
from sala_oci.simulator import wait_until


# Each once, for each of the operations.
TROUBLE = [
    {"kind": "error", "status": 429, "code": "TooManyRequests", "retryAfterSeconds": 1},
    {"kind": "error", "status": 503, "code": "ServiceUnavailable"},
    {"kind": "error", "status": 500, "code": "InternalServerError"},
    {"kind": "drop", "isDone": True},
]
# Of masters, of the function, and of the node that leaves.
TROUBLED = [
    "GetObject", "PutObject", "InvokeFunction", "ListInstancePools", "ListInstancePoolInstances", "ListInstances",
    "SummarizeMetricsData", "UpdateInstance", "DetachInstancePoolInstance", "TerminateInstance",
]


def test_scale_in_comes_to_its_end_though_every_call_fails_now_and_then(elastic, measure):
    stack = elastic
    stack.await_serving(120)
    before, former = len(scale_in_calls(stack)), marked(stack)
    faults = [stack.cloud.fault(operation, fault, times=1) for operation in TROUBLED for fault in TROUBLE]
    began = time.monotonic()
    resize(stack, 2)
    try:
        leaving = wait_until(lambda: marked(stack) - former, 180, "a node that leaves")
        wait_until(lambda: all(is_gone(stack, one) for one in leaving), 120, "its end")
        struck = [one for one in stack.cloud.admin("GET", "faults") if one["hits"]]
    finally:
        for number in faults:
            stack.cloud.admin("DELETE", f"faults/{number}")
    measure("weather: trouble begins to the end of the node that was to leave", time.monotonic() - began)
    measure("weather: faults that struck", len(struck))
    assert {one["operation"] for one in struck} >= set(TROUBLED), json.dumps(struck)
    assert len(leaving) == 1 and stack.pool()["size"] == 1
    assert len(serving(stack)) == 1
    once_per_cycle(stack)
    assert len(scale_in_calls(stack)) > before
