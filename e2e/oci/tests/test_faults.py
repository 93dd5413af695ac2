"""Faults on order, and how Oracle's SDK takes them."""

import oci
import pytest
from oci.exceptions import RequestException, ServiceError

from sala_oci.simulator import AdminError, NAMESPACE, wait_until


@pytest.fixture
def storage(cloud, operator):
    return operator(cloud, oci.object_storage.ObjectStorageClient)


def test_throttling_is_over_after_so_many_calls(cloud, storage):
    cloud.fault("PutObject", {"kind": "error", "status": 429, "retryAfterSeconds": 1}, times=2)
    for _ in range(2):
        with pytest.raises(ServiceError) as error:
            storage.put_object(NAMESPACE, "data", "x", b"1")
        assert (error.value.status, error.value.code) == (429, "TooManyRequests")
        assert error.value.headers["retry-after"] == "1"
    storage.put_object(NAMESPACE, "data", "x", b"1")
    assert [call["status"] for call in cloud.calls("PutObject")] == [429, 429, 200]


def test_a_lost_answer_may_be_of_a_call_that_was_done(cloud, storage):
    cloud.fault("PutObject", {"kind": "drop", "isDone": True}, times=1)
    with pytest.raises(RequestException):
        storage.put_object(NAMESPACE, "data", "done", b"1")
    assert storage.get_object(NAMESPACE, "data", "done").data.content == b"1"
    cloud.fault("PutObject", {"kind": "drop"}, times=1)
    with pytest.raises(RequestException):
        storage.put_object(NAMESPACE, "data", "lost", b"1")
    with pytest.raises(ServiceError):
        storage.get_object(NAMESPACE, "data", "lost")


def test_a_call_that_hangs_times_out(cloud, operator):
    cloud.fault("GetNamespace", {"kind": "hang"})
    client = operator(cloud, oci.object_storage.ObjectStorageClient, timeout=(1, 0.3))
    with pytest.raises(RequestException):
        client.get_namespace()
    assert cloud.calls("GetNamespace")[0]["status"] is None


def test_a_caller_dies_in_the_act(new_cloud):
    # A machine that reads its metadata again and again.
    boot = ["python3", "-c",
            "import os, time, urllib.request as u\n"
            "while True:\n"
            "    r = u.Request(os.environ['SALA_OCI_METADATA_URL'] + '/instance/', "
            "headers={'Authorization': 'Bearer Oracle'})\n"
            "    u.urlopen(r).read(); time.sleep(0.05)"]
    cloud = new_cloud(resources={"instances": [{"displayName": "m1", "boot": boot}]})
    wait_until(lambda: cloud.calls("GetInstanceMetadata"), of="the machine")
    cloud.fault("GetInstanceMetadata", {"kind": "killCaller"}, caller="m1", skip=3, times=1)
    wait_until(lambda: cloud.instance("m1")["power"] == "dead", of="its death")
    asked = cloud.state()["lastCall"]
    cloud.admin("PUT", "time", {"advanceSeconds": 60})
    assert cloud.state()["lastCall"] == asked, "nobody asks any more"
    assert cloud.instance("m1")["state"] == "RUNNING"
    cloud.admin("POST", "instances/m1/reset")
    wait_until(lambda: cloud.instance("m1")["power"] == "on", of="the reset")


def test_bad_orders_are_refused_with_the_reason(cloud):
    for method, path, body, reason in [
        ("POST", "faults", {"operation": "X", "fault": {"kind": "earthquake"}}, "earthquake"),
        ("PUT", "iam", {"policies": [{"name": "p", "statements": ["Allow me to read objects in tenancy"]}]}, "me"),
        ("POST", "resources", {"instances": [{"displayName": "stack-master-node-1"}]}, "exists"),
        ("POST", "resources", {"elephants": []}, "elephants"),
        ("GET", "nothing", None, "lib.rs"),
        ("POST", "instances/nobody/kill", None, "nobody"),
    ]:
        with pytest.raises(AdminError) as error:
            cloud.admin(method, path, body)
        assert reason in str(error.value), path
