"""Who calls: API keys, instance principals, and requests that are not as they should be."""

import datetime
import email.utils

import oci
import pytest
from oci.exceptions import ServiceError

from sala_oci.simulator import COMPARTMENT, NAMESPACE, REGION, TENANCY

DATA_ONLY = {
    "dynamicGroups": [{"name": "masters",
                       "matchingRule": f"ALL {{instance.compartment.id = '{COMPARTMENT}'}}"}],
    "policies": [{"name": "stack", "statements": [
        f"Allow dynamic-group masters to manage objects in compartment id {COMPARTMENT} "
        "where target.bucket.name = 'data'",
    ]}],
}


def instance_principal(cloud, name, monkeypatch):
    monkeypatch.setenv("OCI_METADATA_BASE_URL", cloud.instance(name)["imdsUrl"])
    return oci.auth.signers.InstancePrincipalsSecurityTokenSigner(federation_endpoint=f"{cloud.url}/v1/x509")


def storage_of(cloud, signer):
    return oci.object_storage.ObjectStorageClient(
        {}, signer=signer, service_endpoint=cloud.url, retry_strategy=oci.retry.NoneRetryStrategy()
    )


def test_an_instance_does_what_its_dynamic_group_may(cloud, monkeypatch):
    cloud.admin("PUT", "iam", DATA_ONLY)
    signer = instance_principal(cloud, "stack-master-node-1", monkeypatch)
    assert signer.region == REGION
    assert signer.tenancy_id == TENANCY
    storage = storage_of(cloud, signer)
    storage.put_object(NAMESPACE, "data", "x", b"1")
    assert storage.get_object(NAMESPACE, "data", "x").data.content == b"1"
    with pytest.raises(ServiceError) as error:
        storage.put_object(NAMESPACE, "other", "x", b"1")
    assert (error.value.status, error.value.code) == (404, "BucketNotFound")
    callers = {call["caller"] for call in cloud.calls("PutObject")}
    assert callers == {"stack-master-node-1"}


def test_a_policy_counts_after_its_delay(new_cloud, monkeypatch):
    cloud = new_cloud(
        delays={"iamSeconds": 90},
        iam=DATA_ONLY,
        resources={"buckets": [{"name": "data"}], "instances": [{"displayName": "m1"}]},
    )
    storage = storage_of(cloud, instance_principal(cloud, "m1", monkeypatch))
    with pytest.raises(ServiceError) as error:
        storage.put_object(NAMESPACE, "data", "x", b"1")
    assert error.value.status == 404
    cloud.advance(90)
    storage.put_object(NAMESPACE, "data", "x", b"1")


def test_a_token_expires_and_is_had_again(new_cloud, monkeypatch):
    cloud = new_cloud(
        tokens={"sessionSeconds": -1},
        iam=DATA_ONLY,
        resources={"buckets": [{"name": "data"}], "instances": [{"displayName": "m1"}]},
    )
    storage = storage_of(cloud, instance_principal(cloud, "m1", monkeypatch))
    with pytest.raises(ServiceError) as error:
        storage.put_object(NAMESPACE, "data", "x", b"1")
    assert error.value.status == 401
    assert "expired" in error.value.message
    assert len(cloud.calls("FederateX509")) >= 2, "the SDK asks for another"


def test_a_wrong_key_or_user_is_refused(cloud, operator_config, operator):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for wrong in [{"key_content": other.decode()}, {"user": "ocid1.user.oc1..nobody"}]:
        client = oci.object_storage.ObjectStorageClient(operator_config | wrong, service_endpoint=cloud.url)
        with pytest.raises(ServiceError) as error:
            client.get_namespace()
        assert (error.value.status, error.value.code) == (401, "NotAuthenticated")


@pytest.mark.parametrize("minutes, accepted", [(-4, True), (4, True), (-6, False), (6, False)])
def test_the_clock_may_be_five_minutes_off(cloud, operator_config, minutes, accepted):
    requests = oci._vendor.requests
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    date = email.utils.format_datetime(when.replace(tzinfo=datetime.timezone.utc), usegmt=True)
    signer = oci.signer.Signer.from_config(operator_config | {"key_file": None})
    answer = requests.get(f"{cloud.url}/n", auth=signer, headers={"date": date})
    assert (answer.status_code == 200) is accepted, answer.text


def test_a_body_that_was_changed_on_the_way_is_refused(cloud, operator_config):
    requests = oci._vendor.requests
    signer = oci.signer.Signer.from_config(operator_config | {"key_file": None})
    request = requests.Request("POST", f"{cloud.url}/20180608/secrets", json={"a": 1}, auth=signer).prepare()
    request.body = request.body.replace(b"1", b"2")
    answer = requests.Session().send(request)
    assert answer.status_code == 401
    assert "digest" in answer.text


def test_metadata_is_for_those_who_say_the_word(cloud):
    requests = oci._vendor.requests
    base = cloud.instance("stack-master-node-1")["imdsUrl"]
    word = {"Authorization": "Bearer Oracle"}
    assert requests.get(f"{base}/instance/").status_code != 200
    assert requests.get(f"{base}/instance/", headers=word | {"X-Forwarded-For": "1.2.3.4"}).status_code != 200
    document = requests.get(f"{base}/instance/", headers=word).json()
    assert document["metadata"] == {"salaRole": "master"}
    assert document["canonicalRegionName"] == REGION
    assert requests.get(f"{base}/instance/metadata/salaRole", headers=word).text == "master"
    assert requests.get(f"{base}/instance/freeformTags/sala-stack", headers=word).text == "stack"
    assert requests.get(f"{base}/vnics/", headers=word).json()[0]["privateIp"].startswith("127.20.1.")
    assert requests.get(f"{base}/instance/nothing", headers=word).status_code == 404


def test_what_is_not_simulated_says_so(cloud):
    answer = oci._vendor.requests.get(f"{cloud.url}/20160918/bootVolumes")
    assert answer.status_code == 501
    assert "bootVolumes" in answer.json()["message"]
