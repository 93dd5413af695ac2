"""Vaults, keys and secrets through Oracle's SDK."""

import base64

import oci
import pytest
from oci.exceptions import RequestException, ServiceError
from oci.key_management.models import CreateKeyDetails, KeyShape
from oci.vault.models import (
    Base64SecretContentDetails,
    CreateSecretDetails,
    ScheduleSecretDeletionDetails,
    UpdateSecretDetails,
)

from sala_oci.simulator import COMPARTMENT


class Vault:
    """The three services that an operator sees as one."""

    def __init__(self, cloud, operator):
        self.vaults = operator(cloud, oci.key_management.KmsVaultClient)
        self.secrets = operator(cloud, oci.vault.VaultsClient)
        self.bundles = operator(cloud, oci.secrets.SecretsClient)
        state = cloud.state()
        self.id = state["vaults"][0]["id"]
        self.key = state["keys"][0]["id"] if state["keys"] else None

    @staticmethod
    def content(text: str, **more):
        return Base64SecretContentDetails(content=base64.b64encode(text.encode()).decode(), **more)

    def create(self, name: str, text: str, **options):
        details = CreateSecretDetails(compartment_id=COMPARTMENT, vault_id=self.id, key_id=self.key, secret_name=name,
                                      secret_content=self.content(text))
        return self.secrets.create_secret(details, **options).data

    def update(self, secret: str, text: str, **more):
        return self.secrets.update_secret(secret, UpdateSecretDetails(secret_content=self.content(text, **more))).data

    def read(self, name: str, **options) -> str:
        bundle = self.bundles.get_secret_bundle_by_name(name, self.id, **options).data
        return base64.b64decode(bundle.secret_bundle_content.content).decode()


@pytest.fixture
def vault(cloud, operator):
    return Vault(cloud, operator)


def refused(call, *arguments, **options):
    with pytest.raises(ServiceError) as error:
        call(*arguments, **options)
    return error.value.status, error.value.code


def test_a_secret_is_made_changed_and_read_back(vault):
    secret = vault.create("LIVEKIT-API-KEY", "first")
    assert vault.read("LIVEKIT-API-KEY") == "first"
    assert vault.update(secret.id, "second").current_version_number == 2
    assert vault.read("LIVEKIT-API-KEY") == "second"
    assert vault.read("LIVEKIT-API-KEY", stage="PREVIOUS") == "first"
    assert vault.read("LIVEKIT-API-KEY", version_number=1) == "first"
    versions = vault.secrets.list_secret_versions(secret.id).data
    assert [(one.version_number, one.stages) for one in versions] == [(2, ["CURRENT", "LATEST"]), (1, ["PREVIOUS"])]
    assert refused(vault.create, "LIVEKIT-API-KEY", "x") == (409, "Conflict")
    assert refused(vault.read, "NOTHING") == (404, "NotAuthorizedOrNotFound")
    listed = vault.secrets.list_secrets(COMPARTMENT, vault_id=vault.id, name="LIVEKIT-API-KEY").data
    assert [one.lifecycle_state for one in listed] == ["ACTIVE"]


def test_a_pending_version_counts_when_it_is_promoted(vault):
    secret = vault.create("S", "one")
    vault.update(secret.id, "two", stage="PENDING")
    assert vault.read("S") == "one"
    vault.secrets.update_secret(secret.id, UpdateSecretDetails(current_version_number=2))
    assert vault.read("S") == "two"


def test_a_secret_has_thirty_versions(vault):
    secret = vault.create("S", "0")
    for n in range(29):
        vault.update(secret.id, str(n))
    assert refused(vault.update, secret.id, "x") == (400, "LimitExceeded")


def test_a_secret_on_its_way_out_is_brought_back(vault):
    secret = vault.create("S", "kept")
    vault.secrets.schedule_secret_deletion(secret.id, ScheduleSecretDeletionDetails())
    assert vault.secrets.get_secret(secret.id).data.lifecycle_state == "PENDING_DELETION"
    assert refused(vault.read, "S")[0] == 404
    assert refused(vault.create, "S", "other") == (409, "Conflict")
    vault.secrets.cancel_secret_deletion(secret.id)
    assert vault.read("S") == "kept"


def test_a_change_of_another_version_is_refused(vault):
    secret = vault.create("S", "one")
    etag = vault.secrets.get_secret(secret.id).headers["etag"]
    details = UpdateSecretDetails(secret_content=vault.content("two"))
    vault.secrets.update_secret(secret.id, details, if_match=etag)
    assert refused(vault.secrets.update_secret, secret.id, details, if_match=etag)[0] == 412


def test_a_creation_that_is_sent_twice_is_done_once(vault):
    one = vault.create("S", "x", opc_retry_token="token-1")
    assert vault.create("S", "x", opc_retry_token="token-1").id == one.id


def test_states_pass_and_writes_show_later(new_cloud, operator):
    cloud = new_cloud(
        delays={"secretSeconds": 20, "secretVisibleSeconds": 10},
        resources={"vaults": [{"displayName": "v", "keys": [{"displayName": "k"}]}]},
    )
    vault = Vault(cloud, operator)
    secret = vault.create("S", "one")
    assert secret.lifecycle_state == "CREATING"
    assert refused(vault.read, "S")[0] == 404
    assert vault.secrets.list_secrets(COMPARTMENT).data == []
    cloud.advance(10)
    assert vault.read("S") == "one"
    assert refused(vault.update, secret.id, "two") == (409, "IncorrectState")
    cloud.advance(10)
    assert vault.update(secret.id, "two").lifecycle_state == "UPDATING"
    assert vault.read("S") == "one"
    cloud.advance(10)
    assert vault.read("S") == "two"


def test_a_new_vault_cannot_be_managed_for_a_while(new_cloud, operator):
    cloud = new_cloud(
        delays={"vaultManagementSeconds": 180, "keySeconds": 5}, resources={"vaults": [{"displayName": "v"}]}
    )
    vault = Vault(cloud, operator)
    seen = vault.vaults.get_vault(vault.id).data
    assert seen.lifecycle_state == "ACTIVE"
    management = operator(cloud, oci.key_management.KmsManagementClient, seen.management_endpoint)
    with pytest.raises(RequestException):
        management.list_keys(COMPARTMENT)
    cloud.advance(180)
    assert management.list_keys(COMPARTMENT).data == []
    details = CreateKeyDetails(compartment_id=COMPARTMENT, display_name="stack-key",
                               key_shape=KeyShape(algorithm="AES", length=32), protection_mode="SOFTWARE")
    key = management.create_key(details).data
    assert key.lifecycle_state == "CREATING"
    vault.key = key.id
    assert refused(vault.create, "S", "x") == (409, "IncorrectState")
    cloud.advance(5)
    assert management.get_key(key.id).data.lifecycle_state == "ENABLED"
    vault.create("S", "x")
    assert vault.read("S") == "x"


def test_what_is_shared_by_pages_is_whole(new_cloud, operator):
    cloud = new_cloud(pageSize=2, resources={"vaults": [{"displayName": "v", "keys": [{"displayName": "k"}]}]})
    vault = Vault(cloud, operator)
    for n in range(5):
        vault.create(f"S{n}", "x")
    assert len(vault.secrets.list_secrets(COMPARTMENT).data) == 2
    every = oci.pagination.list_call_get_all_results(vault.secrets.list_secrets, COMPARTMENT).data
    assert sorted(one.secret_name for one in every) == [f"S{n}" for n in range(5)]
