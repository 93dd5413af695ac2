"""As much of protobuf's wire format as Terraform's provider protocol needs: strings, bytes, numbers, messages."""

from collections.abc import Iterator


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def field(number: int, value) -> bytes:
    """One field; nothing for the default value, as proto3 has it."""
    if not value and not isinstance(value, Message):
        return b""
    if isinstance(value, (bool, int)):
        return varint(number << 3) + varint(int(value))
    data = value.encode() if isinstance(value, str) else bytes(value)
    return varint(number << 3 | 2) + varint(len(data)) + data


class Message(bytes):
    """An encoded message: present even when it is empty."""


def message(*fields: tuple[int, object]) -> Message:
    return Message(b"".join(field(number, value) for number, value in fields))


def read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        elif key & 7 == 2:
            size = number()
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {key & 7} is not used by this protocol")


def first(data: bytes, wanted: int):
    """The field's value, or None."""
    return next((value for number, value in read(data) if number == wanted), None)
