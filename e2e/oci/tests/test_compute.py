"""Instances and pools through Oracle's SDK, whose machines are processes of this host."""

import oci
import pytest
from oci.core.models import DetachInstancePoolInstanceDetails, UpdateInstanceDetails, UpdateInstancePoolDetails
from oci.exceptions import ServiceError

from sala_oci.simulator import COMPARTMENT, wait_until

# A machine that says that it is up, and tidies up when it is told to stop.
BOOT = ["sh", "-c", "echo up > $SALA_ROOT/state; trap 'echo down > $SALA_ROOT/state; exit' TERM; sleep 1000 & wait"]


@pytest.fixture
def pooled(new_cloud, operator):
    cloud = new_cloud(resources={"pools": [{"displayName": "media-pool", "size": 2, "instance": {"boot": BOOT}}]})
    cloud.computes = operator(cloud, oci.core.ComputeClient)
    cloud.managed = operator(cloud, oci.core.ComputeManagementClient)
    cloud.pool = cloud.managed.list_instance_pools(COMPARTMENT, display_name="media-pool").data[0].id
    wait_until(lambda: state_of(cloud) == "RUNNING", of="the pool")
    return cloud


def state_of(cloud) -> str:
    return cloud.managed.get_instance_pool(cloud.pool).data.lifecycle_state


def members(cloud):
    return cloud.managed.list_instance_pool_instances(COMPARTMENT, cloud.pool).data


def file_of(cloud, instance: str, name: str) -> str:
    import pathlib

    root = cloud.instance(instance)["root"]
    file = pathlib.Path(root or "/nonexistent") / name
    return file.read_text() if file.exists() else ""


def test_an_instance_has_tags_and_a_network_card(cloud, operator):
    computes = operator(cloud, oci.core.ComputeClient)
    instance = computes.list_instances(COMPARTMENT, display_name="stack-master-node-1").data[0]
    assert instance.lifecycle_state == "RUNNING"
    changed = computes.update_instance(instance.id, UpdateInstanceDetails(freeform_tags={"sala-draining": "1"}))
    assert changed.data.freeform_tags == {"sala-draining": "1"}
    with pytest.raises(ServiceError) as error:
        computes.update_instance(instance.id, UpdateInstanceDetails(freeform_tags={}), if_match="old")
    assert error.value.status == 412
    attachment = computes.list_vnic_attachments(COMPARTMENT, instance_id=instance.id).data[0]
    card = operator(cloud, oci.core.VirtualNetworkClient).get_vnic(attachment.vnic_id).data
    assert card.private_ip == cloud.instance("stack-master-node-1")["privateIp"]


def test_a_pool_runs_as_many_machines_as_it_is_asked_for(pooled):
    assert [one.state for one in members(pooled)] == ["Running", "Running"]
    for one in members(pooled):
        wait_until(lambda: file_of(pooled, one.id, "state") == "up\n", of="a machine's boot")
    pooled.managed.update_instance_pool(pooled.pool, UpdateInstancePoolDetails(size=3))
    wait_until(lambda: state_of(pooled) == "RUNNING" and len(members(pooled)) == 3)


def test_a_detached_machine_goes_on_and_is_ended_by_itself(pooled):
    leaving = members(pooled)[0].id
    wait_until(lambda: file_of(pooled, leaving, "state") == "up\n")
    pooled.managed.detach_instance_pool_instance(
        pooled.pool, DetachInstancePoolInstanceDetails(instance_id=leaving, is_decrement_size=True,
                                                       is_auto_terminate=False)
    )
    wait_until(lambda: state_of(pooled) == "RUNNING")
    assert pooled.managed.get_instance_pool(pooled.pool).data.size == 1
    assert leaving not in [one.id for one in members(pooled)]
    assert pooled.computes.get_instance(leaving).data.lifecycle_state == "RUNNING"
    root = pooled.instance(leaving)["root"]
    pooled.computes.terminate_instance(leaving, preserve_boot_volume=False)
    wait_until(lambda: pooled.computes.get_instance(leaving).data.lifecycle_state == "TERMINATED")
    assert file_of(pooled, leaving, "state") == "up\n", "the power went, there was no time to tidy up"
    assert processes_below(root) == []


def processes_below(root: str) -> list:
    import pathlib

    mark = f"SALA_ROOT={root}".encode()

    def is_marked(process):
        try:
            return mark in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            return False

    return [process.name for process in pathlib.Path("/proc").iterdir() if process.name.isdigit() and is_marked(process)]


def test_a_pool_replaces_what_was_terminated(pooled):
    gone = members(pooled)[0].id
    pooled.computes.terminate_instance(gone)
    wait_until(lambda: state_of(pooled) == "RUNNING" and len(members(pooled)) == 2)
    assert gone not in [one.id for one in members(pooled)]


def test_a_size_cannot_be_changed_in_the_middle_of_a_change(new_cloud, operator):
    cloud = new_cloud(delays={"poolSeconds": 60}, resources={"pools": [{"displayName": "p", "size": 1, "instance": {}}]})
    managed = operator(cloud, oci.core.ComputeManagementClient)
    pool = cloud.state()["pools"][0]["id"]
    with pytest.raises(ServiceError) as error:
        managed.update_instance_pool(pool, UpdateInstancePoolDetails(size=2))
    assert (error.value.status, error.value.code) == (409, "IncorrectState")
    cloud.advance(60)
    managed.update_instance_pool(pool, UpdateInstancePoolDetails(size=2))


def test_an_acpi_stop_lets_the_machine_tidy_up_and_a_start_brings_it_back(pooled):
    one = members(pooled)[0].id
    wait_until(lambda: file_of(pooled, one, "state") == "up\n")
    pooled.computes.instance_action(one, "SOFTSTOP")
    wait_until(lambda: pooled.computes.get_instance(one).data.lifecycle_state == "STOPPED")
    pooled.computes.instance_action(one, "START")
    wait_until(lambda: pooled.computes.get_instance(one).data.lifecycle_state == "RUNNING")


def test_a_killed_machine_runs_on_for_the_api(pooled):
    one = members(pooled)[0].id
    wait_until(lambda: file_of(pooled, one, "state") == "up\n")
    root = pooled.instance(one)["root"]
    pooled.admin("POST", f"instances/{one}/kill")
    assert processes_below(root) == []
    assert pooled.computes.get_instance(one).data.lifecycle_state == "RUNNING"
    assert pooled.instance(one)["power"] == "dead"


def test_no_machine_outlives_the_cloud(pooled):
    one = members(pooled)[0].id
    wait_until(lambda: file_of(pooled, one, "state") == "up\n")
    root = pooled.instance(one)["root"]
    assert processes_below(root)
    pooled.process.kill()
    wait_until(lambda: processes_below(root) == [], of="the end of its machines")
