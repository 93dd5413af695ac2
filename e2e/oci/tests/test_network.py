"""Network load balancers: what the API says of them, and the connections that they carry."""

import socket
import threading

import oci
import pytest

from sala_oci.simulator import COMPARTMENT, free_port, wait_until


class Echo(threading.Thread):
    """A master that says what it was sent, and lets itself be checked."""

    def __init__(self, address: str, port: int):
        super().__init__(daemon=True)
        self.listener = socket.create_server((address, port))
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    @staticmethod
    def serve(client):
        with client:
            while data := client.recv(1000):
                client.sendall(data)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def balanced(new_cloud):
    port = free_port()
    cloud = new_cloud(
        delays={"balancerSeconds": 30},
        resources={
            "instances": [{"displayName": f"m{n}", "privateIp": f"127.20.1.{100 + n}"} for n in (1, 2)],
            "networkLoadBalancers": [{
                "displayName": "stack-nlb", "address": "127.20.0.2", "reservedIp": "ocid1.publicip.oc1.fra.x",
                "listeners": [{"name": "https", "port": port}],
                "healthCheck": {"port": port, "intervalMillis": 50, "timeoutMillis": 500, "retries": 2},
                "backends": ["m1", "m2"],
            }],
        },
    )
    cloud.balanced_port = port
    return cloud


def healthy(cloud) -> list:
    return cloud.state()["networkLoadBalancers"][0]["healthy"]


def test_the_address_is_known_once_the_balancer_is_there(balanced, operator):
    client = operator(balanced, oci.network_load_balancer.NetworkLoadBalancerClient)
    found = client.list_network_load_balancers(COMPARTMENT, display_name="stack-nlb").data.items[0]
    assert (found.lifecycle_state, found.ip_addresses) == ("CREATING", [])
    balanced.advance(30)
    whole = client.get_network_load_balancer(found.id).data
    assert whole.lifecycle_state == "ACTIVE"
    assert [(one.ip_address, one.is_public) for one in whole.ip_addresses] == [("127.20.0.2", True)]
    assert [one.name for one in whole.backend_sets["https"].backends] == ["m1", "m2"]
    addresses = operator(balanced, oci.core.VirtualNetworkClient)
    assert addresses.get_public_ip("ocid1.publicip.oc1.fra.x").data.ip_address == "127.20.0.2"


def test_connections_go_to_who_is_well_and_say_who_comes(balanced):
    first, second = (Echo(f"127.20.1.{100 + n}", balanced.balanced_port) for n in (1, 2))
    balanced.advance(30)
    wait_until(lambda: healthy(balanced) == ["m1", "m2"], of="the health")
    second.stop()
    wait_until(lambda: healthy(balanced) == ["m1"], of="the loss")
    for _ in range(5):
        with socket.create_connection(("127.20.0.2", balanced.balanced_port)) as client:
            client.sendall(b"hello")
            # The master sends back what the balancer put before it: PROXY protocol v2.
            seen = client.makefile("rb").read(28 + 5)
        assert seen.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c")
        assert seen.endswith(b"hello")
    first.stop()
    wait_until(lambda: healthy(balanced) == [])
    with socket.create_connection(("127.20.0.2", balanced.balanced_port)) as client:
        assert client.recv(1) == b"", "nobody is there"
