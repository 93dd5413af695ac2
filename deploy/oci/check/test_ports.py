"""Exactly the ports of the specification are open, to exactly those who need them."""

from evaluate import Scope, evaluate

from test_variables import MANDATORY

ANYWHERE = "0.0.0.0/0"
TCP, UDP = "6", "17"

# Group, from whom, protocol, ports. The last block is the cluster's own: mutual TLS on 7900, etcd on 2379 and 2380.
OPEN = {
    ("balancer", ANYWHERE, TCP, 80, 80), ("balancer", ANYWHERE, TCP, 443, 443), ("balancer", ANYWHERE, TCP, 1935, 1935),
    ("master", "balancer", TCP, 80, 80), ("master", "balancer", TCP, 443, 443), ("master", "balancer", TCP, 1935, 1935),
    ("master", "balancer", TCP, 7880, 7880),
    ("media", ANYWHERE, UDP, 50000, 60000), ("media", ANYWHERE, TCP, 50000, 60000), ("media", ANYWHERE, UDP, 443, 443),
    ("media", ANYWHERE, TCP, 7881, 7881), ("media", ANYWHERE, UDP, 7885, 7885),
    ("media", "master", TCP, 5349, 5349), ("media", "master", TCP, 7880, 7880), ("media", "master", TCP, 8080, 8080),
    ("media", "master", TCP, 1935, 1935),
    ("master", "master", TCP, 7900, 7900), ("master", "media", TCP, 7900, 7900), ("media", "master", TCP, 7900, 7900),
    ("media", "media", TCP, 7900, 7900), ("master", "master", TCP, 2379, 2380), ("master", "media", TCP, 2379, 2379),
}  # fmt: skip


def rules(table):
    return {(rule["group"], rule["from"], rule["protocol"], rule["first"], rule["last"]) for rule in table.values()}


def test_exactly_the_specified_ports_are_open(module):
    assert rules(Scope(module, MANDATORY).local("ingress")) == OPEN


def test_ssh_is_closed_until_the_operator_opens_it(module):
    assert Scope(module, MANDATORY).local("ssh_ingress") == {}
    opened = Scope(module, {**MANDATORY, "sshAllowedCidrs": ["203.0.113.7/32"]}).local("ssh_ingress")
    assert rules(opened) == {(group, "203.0.113.7/32", TCP, 22, 22) for group in ("master", "media")}


def test_the_balancer_reaches_masters_only_and_on_every_port_it_serves(module):
    egress = Scope(module, MANDATORY).local("egress")
    assert {(rule["to"], rule["first"], rule["last"]) for rule in egress.values()} == {
        ("master", port, port) for port in (80, 443, 1935, 7880)
    }


def test_subnets_have_no_list_that_opens_more(module):
    closed = module.resources()[("resource", "oci_core_security_list", "closed")]
    assert closed.blocks == []
    for (_kind, type, name), block in module.resources().items():
        if type == "oci_core_subnet":
            assert "security_list_ids" in block.attributes, name


def test_the_functions_network_has_no_way_to_the_internet(module):
    routes = module.resources()[("resource", "oci_core_route_table", "functions")]
    rule = module.resources()[("resource", "oci_core_network_security_group_security_rule", "functions_egress")]
    scope = Scope(module, MANDATORY)
    assert evaluate(rule.attributes["destination_type"].value, scope) == "SERVICE_CIDR_BLOCK"
    assert evaluate(routes.named("route_rules")[0].attributes["destination_type"].value, scope) == "SERVICE_CIDR_BLOCK"
