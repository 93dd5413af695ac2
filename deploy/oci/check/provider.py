"""A stand-in for the providers, which no package registry carries: it has their schemas (schema.py) and keeps what is
applied in memory, so that Terraform itself can validate, plan, apply and destroy the module.

It speaks Terraform's plugin protocol 5 over a Unix socket. What it shows is what Terraform makes of the module: types,
references, order, what changes. What it cannot show is what Oracle's API says to the values.
"""

import json
import os
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc
import msgpack

from schema import Schemas
from wire import Message, first, message

UNKNOWN = msgpack.ExtType(0, b"")
NESTING = {"single": 1, "list": 2, "set": 3}

# What a provider computes, where the default below would not do: (type, attribute) → value.
COMPUTED = {
    ("oci_core_public_ip", "ip_address"): "203.0.113.9",
    ("oci_objectstorage_preauthrequest", "access_uri"): "/p/secret/n/namespace/b/bucket/o/object",
    ("tls_private_key", "private_key_openssh"): "-----BEGIN OPENSSH PRIVATE KEY-----",
}


class World:
    """What exists, and what happened to it in which order."""

    def __init__(self):
        self.resources: dict[str, tuple[str, dict]] = {}
        self.events: list[tuple[str, str, dict]] = []
        self.data: dict[str, Callable[[dict], dict]] = {}
        self.made = 0
        self.lock = threading.Lock()

    def of_type(self, type: str) -> list[dict]:
        return [state for kind, state in self.resources.values() if kind == type]

    def create(self, type: str, state: dict) -> dict:
        with self.lock:
            self.made += 1
            made = self.made
        state = {**state, "id": f"ocid1.{type.removeprefix('oci_').replace('_', '')}.oc1..{made}"}
        for name, value in state.items():
            state[name] = settled(type, name, value, made)
        self.events.append(("create", type, state))
        self.resources[state["id"]] = (type, state)
        return state

    def update(self, type: str, state: dict) -> dict:
        state = {name: settled(type, name, value, 0) for name, value in state.items()}
        self.events.append(("update", type, state))
        self.resources[state["id"]] = (type, state)
        return state

    def delete(self, state: dict) -> None:
        type, _ = self.resources.pop(state["id"])
        self.events.append(("delete", type, state))


def settled(type: str, name: str, value, made: int):
    """A value in which nothing is unknown any more."""
    if isinstance(value, msgpack.ExtType):
        return COMPUTED.get((type, name), f"{name}-{made}")
    if isinstance(value, dict):
        return {key: settled(type, key, inner, made) for key, inner in value.items()}
    if isinstance(value, list):
        return [settled(type, name, inner, made) for inner in value]
    return value


class Provider:
    """One provider: its part of the schemas, and its socket."""

    def __init__(self, name: str, schemas: Schemas, world: World, socket: Path):
        self.schemas = {key: value for key, value in schemas.items() if key[1].split("_")[0] == name}
        self.config = PROVIDER_CONFIG.get(name, {})
        self.world = world
        self.socket = socket
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((Handler(self),))
        self.server.add_insecure_port(f"unix:{socket}")
        self.server.start()

    def stop(self) -> None:
        self.server.stop(None)

    # ---- the protocol's calls: request bytes to response bytes

    def GetSchema(self, _request: bytes) -> bytes:
        maps = []
        for number, kind in ((2, "resource"), (3, "data")):
            for (its_kind, type), schema in self.schemas.items():
                if its_kind == kind:
                    maps.append((number, message((1, type), (2, encoded(schema, kind == "resource")))))
        provider = {"attributes": {name: optional("string") for name in self.config}, "blocks": {}}
        return message((1, encoded(provider, False)), *maps)

    def PrepareProviderConfig(self, request: bytes) -> bytes:
        return message((1, Message(first(request, 1))))

    def Configure(self, _request: bytes) -> bytes:
        return b""

    def ValidateResourceTypeConfig(self, _request: bytes) -> bytes:
        return b""

    def ValidateDataSourceConfig(self, _request: bytes) -> bytes:
        return b""

    def UpgradeResourceState(self, request: bytes) -> bytes:
        raw = json.loads(first(first(request, 3), 1))
        return message((1, dynamic(raw)))

    def ReadResource(self, request: bytes) -> bytes:
        state = value_of(request, 2)
        _type, now = self.world.resources.get(state["id"], (None, None))
        return message((1, dynamic(now)))

    def PlanResourceChange(self, request: bytes) -> bytes:
        type, prior, proposed = first(request, 1).decode(), value_of(request, 2), value_of(request, 3)
        if prior is None and proposed is not None:
            schema = self.schemas[("resource", type)]
            for name, attribute in schema["attributes"].items():
                if proposed[name] is None and not attribute["required"]:
                    proposed[name] = UNKNOWN
        return message((1, dynamic(proposed)), (5, True))

    def ApplyResourceChange(self, request: bytes) -> bytes:
        type, prior, planned = first(request, 1).decode(), value_of(request, 2), value_of(request, 3)
        if planned is None:
            self.world.delete(prior)
            return message((1, dynamic(None)))
        schema = self.schemas[("resource", type)]["attributes"]
        for name, value in planned.items():
            # What is not text is left out rather than made up.
            if isinstance(value, msgpack.ExtType) and schema[name]["type"] != "string":
                planned[name] = None
        state = self.world.create(type, planned) if prior is None else self.world.update(type, planned)
        return message((1, dynamic(state)), (4, True))

    def ReadDataSource(self, request: bytes) -> bytes:
        type, config = first(request, 1).decode(), value_of(request, 2)
        attributes = self.schemas[("data", type)]["attributes"]
        answer = {**config, "id": type, **self.world.data[type](config)}
        state = {name: filled(attributes[name]["type"], value) if name in attributes else value for name, value in answer.items()}
        return message((1, dynamic(state)))

    def Stop(self, _request: bytes) -> bytes:
        return b""


PROVIDER_CONFIG = {"oci": ["region"]}


class Handler(grpc.GenericRpcHandler):
    def __init__(self, provider: Provider):
        self.provider = provider

    def service(self, call):
        service, _, method = call.method.rpartition("/")
        if service != "/tfplugin5.Provider" or not hasattr(Provider, method):
            return None
        answer = getattr(self.provider, method)
        return grpc.unary_unary_rpc_method_handler(lambda request, _context: bytes(answer(request)))


# ---- values and schemas on the wire


def filled(type, value):
    """The value with every part that its type has."""
    if value is None or not isinstance(type, list):
        return value
    if type[0] == "object":
        return {name: filled(inner, value.get(name)) for name, inner in type[1].items()}
    if type[0] == "map":
        return {key: filled(type[1], inner) for key, inner in value.items()}
    return [filled(type[1], inner) for inner in value]


def dynamic(value) -> Message:
    return message((1, msgpack.packb(value)))


def value_of(request: bytes, number: int):
    packed = first(first(request, number), 1)
    return msgpack.unpackb(packed, strict_map_key=False)


def optional(type) -> dict:
    return {"type": type, "required": False, "optional": True, "computed": False}


def encoded(schema: dict, is_resource: bool) -> Message:
    return message((2, encoded_block(schema, is_resource)))


def encoded_block(schema: dict, is_resource: bool) -> Message:
    attributes = [
        (
            2,
            message(
                (1, name),
                (2, json.dumps(attribute["type"])),
                (4, attribute["required"]),
                (5, attribute["optional"]),
                # Which optional attributes are computed too, the bindings do not tell: in resources all may be.
                (6, attribute["computed"] or (is_resource and attribute["optional"])),
                (7, name in SENSITIVE),
            ),
        )
        for name, attribute in schema["attributes"].items()
    ]
    blocks = [
        (
            3,
            message(
                (1, name),
                (2, encoded_block(inner["block"], is_resource)),
                (3, NESTING[inner["nesting"]]),
                (4, int(inner["required"] and inner["nesting"] != "single")),
                (5, int(inner["one"] and inner["nesting"] != "single")),
            ),
        )
        for name, inner in schema["blocks"].items()
    ]
    return message(*attributes, *blocks)


SENSITIVE = {"private_key_openssh", "private_key_pem", "private_key_pem_pkcs8"}


def reattach(providers: dict[str, Provider]) -> str:
    """For Terraform's environment: these providers run already."""
    return json.dumps(
        {
            source: {
                "Protocol": "grpc",
                "ProtocolVersion": 5,
                "Pid": os.getpid(),
                "Test": True,
                "Addr": {"Network": "unix", "String": str(provider.socket)},
            }
            for source, provider in providers.items()
        }
    )


