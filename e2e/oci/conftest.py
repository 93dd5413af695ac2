"""Fixtures: a simulated cloud, and Oracle's own clients for it."""

import oci
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sala_oci.simulator import COMPARTMENT, REGION, TENANCY, Simulator

pytest_plugins = ["sala_oci.report"]

USER = "ocid1.user.oc1..operator"
FINGERPRINT = "20:3b:97:13:55:1c:5b:0d:d3:37:d8:50:4e:c5:3a:34"

# Nothing takes longer than a test wants to wait; tests about delays set their own.
FAST = {
    "iamSeconds": 0, "membershipSeconds": 0, "vaultManagementSeconds": 0, "keySeconds": 0, "secretSeconds": 0,
    "secretVisibleSeconds": 0, "provisionSeconds": 0, "stopSeconds": 0, "softStopSeconds": 60, "poolSeconds": 0,
    "metricsLagSeconds": 60, "imdsTagsSeconds": 0, "balancerSeconds": 0,
}


@pytest.fixture(scope="session")
def api_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def user(api_key):
    public = api_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return {"id": USER, "fingerprint": FINGERPRINT, "publicKey": public.decode(), "groups": ["Administrators"]}


@pytest.fixture
def new_cloud(user):
    """`new_cloud(resources={…}, delays={…}, …)`: a cloud that ends with the test."""
    running = []

    def begin(**config) -> Simulator:
        config.setdefault("users", [user])
        config["delays"] = FAST | config.get("delays", {})
        running.append(Simulator(config))
        return running[-1]

    yield begin
    for cloud in running:
        cloud.stop()


@pytest.fixture
def cloud(new_cloud):
    """A cloud with one of everything, where all goes at once."""
    return new_cloud(
        resources={
            "buckets": [{"name": "data"}, {"name": "other"}],
            "vaults": [{"displayName": "stack-vault", "keys": [{"displayName": "stack-key"}]}],
            "instances": [{"displayName": "stack-master-node-1", "metadata": {"salaRole": "master"},
                           "freeformTags": {"sala-stack": "stack"}}],
        }
    )


@pytest.fixture(scope="session")
def operator_config(api_key):
    """What an operator has in ~/.oci/config."""
    private = api_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "user": USER, "fingerprint": FINGERPRINT, "tenancy": TENANCY, "region": REGION, "key_content": private.decode(),
    }


@pytest.fixture
def operator(operator_config):
    """`operator(cloud, oci.core.ComputeClient)`: a client of the operator's, without retries."""

    def client(cloud, kind, endpoint=None, **options):
        options.setdefault("retry_strategy", oci.retry.NoneRetryStrategy())
        return kind(operator_config, service_endpoint=endpoint or cloud.url, **options)

    return client


@pytest.fixture
def compartment():
    return COMPARTMENT
