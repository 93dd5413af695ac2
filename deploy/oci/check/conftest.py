"""The module under test, read once, and the providers' schemas for it."""

from pathlib import Path

import pytest

import schema
from hcl import Module

MODULE = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def module() -> Module:
    return Module.load(MODULE)


@pytest.fixture(scope="session")
def schemas(module) -> schema.Schemas:
    return schema.load({(kind, type) for kind, type, _name in module.resources()})


@pytest.fixture
def edited(tmp_path):
    """The module with one text in one file replaced by another."""

    def edit(file: str, old: str, new: str) -> Module:
        for path in MODULE.glob("*.tf"):
            text = path.read_text()
            if path.name == file:
                assert text.count(old) >= 1, f"{file} has no {old!r}"
                text = text.replace(old, new, 1)
            (tmp_path / path.name).write_text(text)
        return Module.load(tmp_path)

    return edit
