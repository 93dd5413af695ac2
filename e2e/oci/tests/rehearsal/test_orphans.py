"""A media node that leaves and cannot end itself does not stay for ever."""

import json
import time

from sala_oci.scaling import is_gone, marked, resize, serving
from sala_oci.simulator import wait_until


def test_draining_nodes_that_die_or_cannot_ask_are_ended_by_the_masters(elastic, measure):
    stack = elastic
    stack.await_serving(120)
    kill = stack.cloud.fault("InvokeFunction", {"kind": "killCaller", "isDone": False}, caller="inst-", times=1)
    refuse = stack.cloud.fault("InvokeFunction", {"kind": "error", "status": 502, "code": "FunctionInvokeContainerInitFail"}, caller="inst-")
    resize(stack, 3)
    wait_until(lambda: len(serving(stack)) == 3, 180, "three media nodes that serve")
    before, former = len(stack.calls_of_function()), marked(stack)
    try:
        wait_until(lambda: len(marked(stack) - former) == 2, 120, "two media nodes that leave")
        leaving, began = marked(stack) - former, time.monotonic()
        wait_until(lambda: all(is_gone(stack, one) for one in leaving), 120, "the end of both")
        measure("orphans: marked to ended by the masters", time.monotonic() - began)
    finally:
        for number in (kill, refuse):
            stack.cloud.admin("DELETE", f"faults/{number}")
    asked = stack.calls_of_function()[before:]
    swept = {id for call in asked if call["ask"]["action"] == "sweep" for id in (call["answer"] or {}).get("terminated", [])}
    assert leaving <= swept, json.dumps(asked, indent=1)[-3000:]
    assert not any(one["ask"]["action"] == "terminate" for one in asked)
    logs = stack.logs("sala")
    assert "an orphan is ended" in logs
    refused = stack.logs("sala-drain-watch", list(leaving))
    assert "the function did not answer; asking again" in refused
    assert stack.pool()["size"] == 1 and len(stack.media()) == 1

