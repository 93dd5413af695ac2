#!/usr/bin/env python3
"""Writes requests.json: what Oracle's own Python SDK sends for each operation that our clients have.

Run: python3 -m venv v && v/bin/pip install oci && v/bin/python make_requests.py
Each operation is called against a server in this process, which records it and answers with what is given here; the
test sends the same with our clients, compares, and reads the same answer.
"""
import base64
import datetime
import http.server
import json
import pathlib
import threading
import urllib.parse

import oci

HERE = pathlib.Path(__file__).parent
RECORDED = {"if-match", "if-none-match", "content-type", "fn-invoke-type", "fn-intent"}
TIME = "2026-11-24T12:00:00.123Z"
AT = datetime.datetime(2026, 11, 24, 12, 0, 0, 123000, tzinfo=datetime.timezone.utc)


class Recorder(http.server.BaseHTTPRequestHandler):
    answer: bytes = b""
    headers_out: dict = {}
    seen: list = []

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        path, _, query = self.path.partition("?")
        headers = {k.lower(): v for k, v in self.headers.items()}
        Recorder.seen.append({
            "method": self.command,
            "path": path,
            "query": dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
            "headers": {k: v for k, v in headers.items() if k in RECORDED and (body or k != "content-type")},
            "retry_token": "opc-retry-token" in headers,
            "body": body,
        })
        self.send_response(200)
        for name, value in Recorder.headers_out.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(Recorder.answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(Recorder.answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"
CONFIG = {
    "user": "ocid1.user.oc1..u", "tenancy": "ocid1.tenancy.oc1..t", "region": "eu-frankfurt-1",
    "fingerprint": ":".join(["aa"] * 16), "key_file": str(HERE / "test-key.pem"),
}


def client(kind):
    return kind(CONFIG, service_endpoint=URL, retry_strategy=oci.retry.NoneRetryStrategy())


storage = client(oci.object_storage.ObjectStorageClient)
vaults = client(oci.vault.VaultsClient)
bundles = client(oci.secrets.SecretsClient)
kms_vaults = client(oci.key_management.KmsVaultClient)
kms = client(oci.key_management.KmsManagementClient)
compute = client(oci.core.ComputeClient)
pools = client(oci.core.ComputeManagementClient)
network = client(oci.core.VirtualNetworkClient)
monitoring = client(oci.monitoring.MonitoringClient)
applications = client(oci.functions.FunctionsManagementClient)
functions = client(oci.functions.FunctionsInvokeClient)
balancers = client(oci.network_load_balancer.NetworkLoadBalancerClient)

VM, CM, FM, KM, MM = (
    oci.vault.models, oci.core.models, oci.functions.models, oci.key_management.models, oci.monitoring.models)
ETAG = {"etag": "e1"}
CONTENT = VM.Base64SecretContentDetails(content=base64.b64encode(b"s3cret").decode(), stage="CURRENT")
SECRET = {
    "id": "ocid1.vaultsecret.s", "secretName": "A-SECRET", "compartmentId": "ocid1.c", "vaultId": "ocid1.vault.v",
    "keyId": "ocid1.key.k", "lifecycleState": "PENDING_DELETION", "currentVersionNumber": 3, "timeCreated": TIME,
    "timeOfDeletion": TIME, "freeformTags": {"a": "b"}, "lifecycleDetails": None,
}
BUNDLE = {
    "secretId": "ocid1.vaultsecret.s", "versionNumber": 3, "versionName": None, "stages": ["CURRENT", "LATEST"],
    "timeCreated": TIME, "secretBundleContent": {"contentType": "BASE64", "content": "czNjcmV0"},
}
VAULT = {
    "id": "ocid1.vault.v", "displayName": "demo-vault", "compartmentId": "ocid1.c", "lifecycleState": "ACTIVE",
    "managementEndpoint": "https://x-management.kms.eu-frankfurt-1.oraclecloud.com", "cryptoEndpoint": "https://x",
}
KEY = {
    "id": "ocid1.key.k", "displayName": "demo-key", "compartmentId": "ocid1.c", "vaultId": "ocid1.vault.v",
    "lifecycleState": "ENABLED", "protectionMode": "SOFTWARE",
}
INSTANCE = {
    "id": "ocid1.instance.i", "displayName": "inst", "compartmentId": "ocid1.c", "lifecycleState": "RUNNING",
    "timeCreated": TIME, "availabilityDomain": "AD-1", "faultDomain": "FAULT-DOMAIN-2", "shape": "VM.Standard.E4.Flex",
    "freeformTags": {"sala-role": "media"}, "region": "eu-frankfurt-1", "metadata": {},
}
POOL = {
    "id": "ocid1.instancepool.p", "displayName": "demo-media-pool", "compartmentId": "ocid1.c", "size": 2,
    "lifecycleState": "SCALING", "timeCreated": TIME, "freeformTags": {}, "instanceConfigurationId": "ocid1.ic",
}
MEMBER = {
    "id": "ocid1.instance.i", "displayName": "inst", "state": "Running", "timeCreated": TIME, "region": "fra",
    "availabilityDomain": "AD-1", "compartmentId": "ocid1.c", "instanceConfigurationId": "ocid1.ic", "shape": "s",
}
SERIES = {
    "namespace": "oci_computeagent", "compartmentId": "ocid1.c", "name": "CpuUtilization",
    "dimensions": {"resourceId": "ocid1.instance.i"}, "resolution": None,
    "aggregatedDatapoints": [
        {"timestamp": "2026-11-24T12:01:00.000Z", "value": 41.5}, {"timestamp": "2026-11-24T12:00:00.000Z", "value": 7}],
}
APPLICATION = {"id": "ocid1.fnapp.a", "displayName": "demo-scalein", "lifecycleState": "ACTIVE"}
FUNCTION = {
    "id": "ocid1.fnfunc.f", "displayName": "scalein", "applicationId": "ocid1.fnapp.a", "lifecycleState": "ACTIVE",
    "invokeEndpoint": URL, "timeoutInSeconds": 60, "image": "fra.ocir.io/ns/scalein:1",
}
BALANCER = {
    "id": "ocid1.networkloadbalancer.n", "displayName": "demo-nlb", "lifecycleState": "ACTIVE",
    "ipAddresses": [
        {"ipAddress": "10.0.0.9", "isPublic": False}, {"ipAddress": "203.0.113.7", "isPublic": True, "ipVersion": "IPV4"}],
}

CASES = [
    ("namespace", "ns", {}, lambda: storage.get_namespace()),
    ("head_bucket", None, ETAG, lambda: storage.head_bucket("ns", "bu")),
    ("get_object", {"a": 1}, {**ETAG, "content-type": "application/json"}, lambda: storage.get_object("ns", "bu", "dir/a b")),
    ("put_absent", None, ETAG, lambda: storage.put_object(
        "ns", "bu", "lock", b"{}", if_none_match="*", content_type="application/json")),
    ("put_matching", None, ETAG, lambda: storage.put_object(
        "ns", "bu", "lock", b"{}", if_match="e0", content_type="application/json")),
    ("delete_object", None, {}, lambda: storage.delete_object("ns", "bu", "lock", if_match="e0")),
    ("list_objects", {"objects": [{"name": "keys/1", "size": 4, "etag": "e2", "timeModified": TIME}], "prefixes": []}, {},
     lambda: storage.list_objects("ns", "bu", prefix="keys/", fields="name,size,etag,timeModified")),
    ("create_secret", SECRET, ETAG, lambda: vaults.create_secret(VM.CreateSecretDetails(
        compartment_id="ocid1.c", vault_id="ocid1.vault.v", key_id="ocid1.key.k", secret_name="A-SECRET",
        description="why", secret_content=CONTENT, freeform_tags={"a": "b"}))),
    ("update_secret", SECRET, ETAG, lambda: vaults.update_secret(
        "ocid1.vaultsecret.s", VM.UpdateSecretDetails(secret_content=CONTENT), if_match="e0")),
    ("get_secret", SECRET, ETAG, lambda: vaults.get_secret("ocid1.vaultsecret.s")),
    ("list_secrets", [SECRET], {}, lambda: vaults.list_secrets("ocid1.c", vault_id="ocid1.vault.v")),
    ("find_secret", [SECRET], {}, lambda: vaults.list_secrets("ocid1.c", vault_id="ocid1.vault.v", name="A-SECRET")),
    ("schedule_deletion", None, {}, lambda: vaults.schedule_secret_deletion(
        "ocid1.vaultsecret.s", VM.ScheduleSecretDeletionDetails(time_of_deletion=AT))),
    ("cancel_deletion", None, {}, lambda: vaults.cancel_secret_deletion("ocid1.vaultsecret.s")),
    ("secret_versions", [{"versionNumber": 3, "stages": ["CURRENT"], "secretId": "s", "timeCreated": TIME}], {},
     lambda: vaults.list_secret_versions("ocid1.vaultsecret.s")),
    ("schedule_version_deletion", None, {}, lambda: vaults.schedule_secret_version_deletion(
        "ocid1.vaultsecret.s", 2, VM.ScheduleSecretVersionDeletionDetails(time_of_deletion=AT))),
    ("read_secret", BUNDLE, ETAG, lambda: bundles.get_secret_bundle("ocid1.vaultsecret.s")),
    ("read_secret_by_name", BUNDLE, ETAG, lambda: bundles.get_secret_bundle_by_name("A-SECRET", "ocid1.vault.v")),
    ("get_vault", VAULT, ETAG, lambda: kms_vaults.get_vault("ocid1.vault.v")),
    ("list_vaults", [VAULT], {}, lambda: kms_vaults.list_vaults("ocid1.c")),
    ("list_keys", [KEY], {}, lambda: kms.list_keys("ocid1.c")),
    ("get_key", KEY, ETAG, lambda: kms.get_key("ocid1.key.k")),
    ("create_key", KEY, ETAG, lambda: kms.create_key(KM.CreateKeyDetails(
        compartment_id="ocid1.c", display_name="demo-key", key_shape=KM.KeyShape(algorithm="AES", length=32),
        protection_mode="SOFTWARE", freeform_tags={"a": "b"}))),
    ("get_instance", INSTANCE, ETAG, lambda: compute.get_instance("ocid1.instance.i")),
    ("list_instances", [INSTANCE], {}, lambda: compute.list_instances(
        "ocid1.c", display_name="inst", lifecycle_state="RUNNING")),
    ("tag_instance", INSTANCE, ETAG, lambda: compute.update_instance("ocid1.instance.i", CM.UpdateInstanceDetails(
        freeform_tags={"sala-draining": "1795521600", "sala-role": "media"}), if_match="e1")),
    ("terminate_instance", None, {}, lambda: compute.terminate_instance(
        "ocid1.instance.i", preserve_boot_volume=False)),
    ("list_vnic_attachments", [{"instanceId": "ocid1.instance.i", "vnicId": "ocid1.vnic.n", "lifecycleState": "ATTACHED"}],
     {}, lambda: compute.list_vnic_attachments("ocid1.c", instance_id="ocid1.instance.i")),
    ("get_vnic", {"id": "ocid1.vnic.n", "isPrimary": True, "privateIp": "10.0.1.5", "publicIp": "203.0.113.9"}, {},
     lambda: network.get_vnic("ocid1.vnic.n")),
    ("list_pools", [POOL], {}, lambda: pools.list_instance_pools("ocid1.c", display_name="demo-media-pool")),
    ("get_pool", POOL, ETAG, lambda: pools.get_instance_pool("ocid1.instancepool.p")),
    ("resize_pool", POOL, ETAG, lambda: pools.update_instance_pool(
        "ocid1.instancepool.p", CM.UpdateInstancePoolDetails(size=3), if_match="e0")),
    ("list_members", [MEMBER], {}, lambda: pools.list_instance_pool_instances("ocid1.c", "ocid1.instancepool.p")),
    ("detach", None, {}, lambda: pools.detach_instance_pool_instance(
        "ocid1.instancepool.p", CM.DetachInstancePoolInstanceDetails(
            instance_id="ocid1.instance.i", is_decrement_size=True, is_auto_terminate=False))),
    ("summarize", [SERIES], {}, lambda: monitoring.summarize_metrics_data("ocid1.c", MM.SummarizeMetricsDataDetails(
        namespace="oci_computeagent", query="CpuUtilization[5m].mean()", start_time=AT, end_time=AT, resolution="1m"))),
    ("post_metrics", {"failedMetricsCount": 1, "failedMetrics": [{"message": "too old", "metricData": {}}]}, {},
     lambda: monitoring.post_metric_data(MM.PostMetricDataDetails(batch_atomicity="NON_ATOMIC", metric_data=[
         MM.MetricDataDetails(namespace="sala", compartment_id="ocid1.c", name="load", dimensions={"node": "m1"},
                              datapoints=[MM.Datapoint(timestamp=AT, value=0.5)])]))),
    ("list_applications", [APPLICATION], {}, lambda: applications.list_applications(
        "ocid1.c", display_name="demo-scalein")),
    ("list_functions", [FUNCTION], {}, lambda: applications.list_functions("ocid1.fnapp.a", display_name="scalein")),
    ("get_function", FUNCTION, ETAG, lambda: applications.get_function("ocid1.fnfunc.f")),
    ("invoke", {"decision": "kept"}, {"content-type": "application/json"}, lambda: functions.invoke_function(
        "ocid1.fnfunc.f", invoke_function_body=b'{"action":"sweep"}', fn_invoke_type="sync")),
    ("get_balancer", BALANCER, ETAG, lambda: balancers.get_network_load_balancer("ocid1.networkloadbalancer.n")),
]

out = []
for name, answer, headers, call in CASES:
    Recorder.seen.clear()
    Recorder.answer = b"" if answer is None else json.dumps(answer).encode()
    Recorder.headers_out = {"content-type": "application/json", **headers}
    call()
    (request,) = Recorder.seen
    try:
        request["body"] = json.loads(request["body"]) if request["body"] else None
    except ValueError:
        pass
    out.append({"name": name, "request": request, "answer": answer, "answer_headers": headers})

text = json.dumps({"sdk": oci.__version__, "cases": out}, indent=1, ensure_ascii=False).replace(URL, "http://invoke.example")
(HERE / "requests.json").write_text(text + "\n")
