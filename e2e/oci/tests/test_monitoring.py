"""Metrics through Oracle's SDK, and the pool's own rule that acts on them."""

import datetime

import oci
import pytest
from oci.core.models import UpdateInstancePoolDetails
from oci.exceptions import ServiceError
from oci.monitoring.models import Datapoint, MetricDataDetails, PostMetricDataDetails, SummarizeMetricsDataDetails

from sala_oci.simulator import COMPARTMENT, wait_until


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def summary(client, query: str, namespace: str = "oci_computeagent", minutes: int = 10):
    details = SummarizeMetricsDataDetails(
        namespace=namespace, query=query, start_time=now() - datetime.timedelta(minutes=minutes), end_time=now()
    )
    return client.summarize_metrics_data(COMPARTMENT, details).data


def test_cpu_shows_per_instance_after_a_lag(new_cloud, operator):
    cloud = new_cloud(
        delays={"metricsLagSeconds": 60},
        resources={"instances": [{"displayName": "a"}, {"displayName": "b"}]},
    )
    client = operator(cloud, oci.monitoring.MonitoringClient)
    cloud.admin("PUT", "instances/a/cpu", {"percent": 80})
    cloud.admin("PUT", "instances/b/cpu", {"percent": 20})
    assert summary(client, "CpuUtilization[5m].mean()") == []
    # A minute to measure, and a minute until it shows.
    for _ in range(3):
        cloud.advance(60)
    found = {one.dimensions["resourceDisplayName"]: one.aggregated_datapoints for one in
             summary(client, "CpuUtilization[5m].mean()")}
    assert {name: points[-1].value for name, points in found.items()} == {"a": 80, "b": 20}
    one = cloud.instance("a")["id"]
    only = summary(client, f'CpuUtilization[5m]{{resourceId = "{one}"}}.max()')
    assert [stream.dimensions["resourceId"] for stream in only] == [one]
    together = summary(client, "CpuUtilization[5m].grouping().mean()")
    assert together[0].aggregated_datapoints[-1].value == 50
    listed = client.list_metrics(COMPARTMENT, oci.monitoring.models.ListMetricsDetails(namespace="oci_computeagent"))
    assert {one.name for one in listed.data} == {"CpuUtilization"}


def test_cpu_is_that_of_the_machines_processes(new_cloud, operator):
    cloud = new_cloud(
        time={"scale": 60},
        delays={"metricsLagSeconds": 0},
        resources={"instances": [{"displayName": "busy", "boot": ["sh", "-c", "while :; do :; done"], "cpus": 0.2},
                                 {"displayName": "idle", "boot": ["sleep", "1000"], "cpus": 0.2}]},
    )
    wait_until(lambda: (cloud.instance("busy")["cpu"]["lastMinute"] or 0) > 50, of="the load")
    assert cloud.instance("idle")["cpu"]["lastMinute"] < 50
    points = summary(operator(cloud, oci.monitoring.MonitoringClient), "CpuUtilization[1m].max()")
    assert {one.dimensions["resourceDisplayName"] for one in points} == {"busy", "idle"}


def test_own_metrics_are_taken_and_read_back(cloud, operator):
    client = operator(cloud, oci.monitoring.MonitoringClient)

    def post(namespace: str, value: float):
        point = MetricDataDetails(namespace=namespace, compartment_id=COMPARTMENT, name="rooms",
                                  dimensions={"node": "m1"}, datapoints=[Datapoint(timestamp=now(), value=value)])
        return client.post_metric_data(PostMetricDataDetails(metric_data=[point])).data

    assert post("sala", 3).failed_metrics_count == 0
    assert summary(client, "rooms[1m].max()", "sala")[0].aggregated_datapoints[-1].value == 3
    refused = post("oci_sala", 3)
    assert refused.failed_metrics_count == 1
    with pytest.raises(ServiceError) as error:
        summary(client, "rooms[1m]", "sala")
    assert error.value.status == 400


def test_the_pool_grows_by_its_own_rule_and_never_shrinks(new_cloud, operator):
    cloud = new_cloud(
        delays={"metricsLagSeconds": 60},
        resources={"pools": [{
            "displayName": "media", "size": 1, "instance": {},
            "autoscaling": {"max": 2, "threshold": 50, "pendingSeconds": 60, "coolDownSeconds": 120},
        }]},
    )

    def minutes(count: int, percent: float):
        for _ in range(count):
            for member in cloud.state()["pools"][0]["members"]:
                cloud.admin("PUT", f"instances/{member}/cpu", {"percent": percent})
            cloud.advance(60)

    minutes(10, 30)
    assert cloud.state()["pools"][0]["size"] == 1
    minutes(20, 90)
    wait_until(lambda: cloud.state()["pools"][0]["size"] == 2)
    minutes(20, 1)
    assert cloud.state()["pools"][0]["size"] == 2
    managed = operator(cloud, oci.core.ComputeManagementClient)
    managed.update_instance_pool(cloud.state()["pools"][0]["id"], UpdateInstancePoolDetails(size=1))
    wait_until(lambda: len(cloud.state()["pools"][0]["members"]) == 1)
