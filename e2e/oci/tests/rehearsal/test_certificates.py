"""A certificate of an ACME authority, the same on whichever master the balancer picks."""

from sala_oci.pages import assert_one_certificate, assert_page


def test_the_page_answers_with_the_authoritys_certificate(elastic, pebble):
    assert_page(elastic, pebble.root_file)


def test_all_masters_show_the_one_that_was_issued(elastic):
    assert_one_certificate(elastic)


def test_no_order_failed(elastic):
    """Each failed order counts against the limits of an authority."""
    logs = elastic.logs("sala")
    assert "a certificate was issued" in logs
    assert "no certificate for" not in logs


async def test_an_sdk_trusts_the_authoritys_certificate(elastic, call):
    talk = await call(elastic)
    await talk.messages_pass("through the balancer")
