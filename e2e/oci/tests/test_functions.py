"""A function through Oracle's SDK: a process that keeps the Fn contract."""

import json
import sys

import oci
import pytest
from oci.exceptions import ServiceError

from sala_oci.simulator import COMPARTMENT, wait_until

# Answers with what it was told, and what it sees when it looks at the cloud as itself.
FUNCTION = r'''
import http.server, json, os, socket, socketserver, sys, time
import oci

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "fn"
    def log_message(self, *_): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = json.loads(body or b"{}")
        if asked.get("die"): os._exit(3)
        if asked.get("sleep"): time.sleep(asked["sleep"])
        answer = {"headers": {name.lower(): value for name, value in self.headers.items()},
                  "path": self.path, "pid": os.getpid(), "config": os.environ.get("STACK_NAME")}
        if asked.get("list"):
            signer = oci.auth.signers.get_resource_principals_signer()
            computes = oci.core.ComputeClient({}, signer=signer, service_endpoint=os.environ["SALA_OCI_ENDPOINT"],
                                              retry_strategy=oci.retry.NoneRetryStrategy())
            try:
                answer["instances"] = [one.display_name for one in computes.list_instances(asked["list"]).data]
            except oci.exceptions.ServiceError as error:
                answer["refused"] = error.status
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    def get_request(self):
        request, _ = super().get_request()
        return request, ("fn", 0)

listener = os.environ["FN_LISTENER"].removeprefix("unix:")
server = Server(listener + ".phony", Handler)
os.symlink(listener + ".phony", listener)
server.serve_forever()
'''


@pytest.fixture
def functions(new_cloud, operator):
    function = {"displayName": "scalein", "command": [sys.executable, "-c", FUNCTION], "timeoutSeconds": 10,
                "config": {"STACK_NAME": "stack"}}
    cloud = new_cloud(
        iam={
            "dynamicGroups": [
                {"name": "masters", "matchingRule": f"instance.compartment.id = '{COMPARTMENT}'"},
                {"name": "functions", "matchingRule":
                    f"ALL {{resource.type = 'fnfunc', resource.compartment.id = '{COMPARTMENT}'}}"},
            ],
            "policies": [{"name": "p", "statements": [
                f"Allow dynamic-group masters to use fn-invocation in compartment id {COMPARTMENT}",
            ]}],
        },
        resources={
            "applications": [{"displayName": "stack-scalein", "functions": [function]}],
            "instances": [{"displayName": "m1"}],
        },
    )
    managed = operator(cloud, oci.functions.FunctionsManagementClient)
    application = managed.list_applications(COMPARTMENT, display_name="stack-scalein").data[0]
    found = managed.list_functions(application.id, display_name="scalein").data[0]
    cloud.function = managed.get_function(found.id).data
    return cloud


def invoke(cloud, client, body: dict, **options):
    answer = client.invoke_function(cloud.function.id, invoke_function_body=json.dumps(body).encode(), **options)
    return json.loads(answer.data.content)


def invoker(cloud, operator):
    return operator(cloud, oci.functions.FunctionsInvokeClient, cloud.function.invoke_endpoint)


def test_a_function_learns_who_calls_and_nobody_can_pretend(functions, operator, monkeypatch):
    told = invoke(functions, invoker(functions, operator), {})
    assert told["path"] == "/call"
    assert told["config"] == "stack"
    assert told["headers"]["oci-subject-type"] == "user"
    assert told["headers"]["fn-call-id"]
    monkeypatch.setenv("OCI_METADATA_BASE_URL", functions.instance("m1")["imdsUrl"])
    signer = oci.auth.signers.InstancePrincipalsSecurityTokenSigner(federation_endpoint=f"{functions.url}/v1/x509")
    headers = {"oci-subject-id": "ocid1.instance.oc1..forged", "oci-subject-type": "instance"}
    answer = oci._vendor.requests.post(
        f"{functions.function.invoke_endpoint}/20181201/functions/{functions.function.id}/actions/invoke",
        json={}, auth=signer, headers=headers,
    ).json()
    assert answer["headers"]["oci-subject-type"] == "instance"
    assert answer["headers"]["oci-subject-id"] == functions.instance("m1")["id"]
    assert answer["pid"] == told["pid"], "the container is still warm"
    seen = functions.admin("GET", "functions")
    assert (seen["count"], seen["containersStarted"]) == (2, 1)
    assert [one["callerType"] for one in seen["invoked"]] == ["user", "instance"]


def test_a_function_acts_as_itself_within_its_policies(functions, operator):
    asked = {"list": COMPARTMENT}
    assert invoke(functions, invoker(functions, operator), asked)["refused"] == 404
    iam = functions.admin("GET", "iam")
    statement = f"Allow dynamic-group functions to read instances in compartment id {COMPARTMENT}"
    functions.admin("PUT", "iam", {"dynamicGroups": iam["dynamicGroups"],
                                   "policies": [{"name": "p", "statements": [statement]}]})
    assert invoke(functions, invoker(functions, operator), asked)["instances"] == ["m1"]


def test_a_function_that_is_slow_or_dies_is_an_error(functions, operator):
    client = invoker(functions, operator)
    for asked, status in [({"sleep": 60}, 504), ({"die": True}, 502)]:
        with pytest.raises(ServiceError) as error:
            invoke(functions, client, asked)
        assert error.value.status == status
    assert invoke(functions, client, {})["path"] == "/call", "the next call gets a new container"


def test_a_detached_call_is_answered_at_once(functions, operator):
    client = invoker(functions, operator)
    answer = client.invoke_function(functions.function.id, invoke_function_body=b"{}", fn_invoke_type="detached")
    assert answer.status == 202
    wait_until(lambda: functions.admin("GET", "functions")["invoked"][0]["status"] == 200)
