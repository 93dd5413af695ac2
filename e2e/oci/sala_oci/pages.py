"""What a browser sees of a deployment."""

from pathlib import Path

from .stack import Stack


def assert_page(stack: Stack, trusted: Path | None) -> None:
    """The page answers at OPENVIDU_URL, and plain HTTP leads there."""
    url = stack.env("openvidu.env")["OPENVIDU_URL"]
    assert url == f"https://{stack.balancer_ip}/"
    page = stack.get(url, cafile=trusted)
    assert page.status == 200 and "<title>" in page.body
    plain_http = stack.get(url.replace("https", "http"))
    assert plain_http.status in (301, 302, 307, 308) and plain_http.headers["location"] == url


def assert_one_certificate(stack: Stack) -> None:
    shown = {stack.certificate(stack.balancer_ip) for _ in range(12)}
    assert len(shown) == 1
