"""From `terraform apply` to a cluster that people can use."""

import stat

from sala_oci.pages import assert_one_certificate, assert_page

NOTED = {
    "OPENVIDU_URL", "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "MEET_INITIAL_ADMIN_USER",
    "MEET_INITIAL_ADMIN_PASSWORD", "ALL_SECRETS_GENERATED",
} | {f"MASTER_NODE_{n}_PRIVATE_IP" for n in range(1, 5)}


def test_masters_wait_for_the_policies_and_form_one_cluster(plain):
    secrets = plain.secrets()
    assert NOTED <= set(secrets), NOTED - set(secrets)
    assert secrets["ALL_SECRETS_GENERATED"] == plain.deployment.generation
    waited = plain.logs("sala-boot")
    assert "waiting for access to the Vault" in waited
    # All have the same settings, for root alone.
    seen = set()
    for master in plain.masters:
        for name in ("openvidu.env", "meet.env"):
            file = plain.file(master, f"/opt/openvidu/config/{name}")
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        seen.add(plain.text(master, "/opt/openvidu/config/openvidu.env"))
    assert len(seen) == 1
    env = plain.env("openvidu.env") | plain.env("meet.env")
    assert {name: env[name] for name in env if name in secrets} == {name: secrets[name] for name in env if name in secrets}
    assert (env["MEET_INITIAL_ADMIN_USER"], env["MEET_INITIAL_ADMIN_PASSWORD"]) == ("admin", "First-Password_1")
    assert env["MEET_INITIAL_API_KEY"] == "first-key"
    makers = [master for master in plain.masters if "this master makes the secrets" in plain.log(master, "sala-boot")]
    assert len(makers) == 1, makers


def test_the_page_answers_at_openvidu_url(plain):
    assert_page(plain, None)


def test_all_masters_show_one_certificate(plain):
    assert_one_certificate(plain)


async def test_an_sdk_joins_by_livekit_url_with_the_key_of_openvidu_env(plain, call):
    talk = await call(plain)
    await talk.messages_pass("through the balancer")
