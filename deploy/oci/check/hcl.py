"""Reads a Terraform module: its blocks as syntax trees, with the comments that stand before each line."""

from dataclasses import dataclass, field
from pathlib import Path

import hcl2
from lark import Token, Tree

NOISE = {"new_line_or_comment"}


@dataclass
class Attribute:
    name: str
    value: Tree
    line: int


@dataclass
class Block:
    type: str
    labels: list[str]
    attributes: dict[str, Attribute]
    blocks: list["Block"]
    line: int
    file: str

    def named(self, type: str) -> list["Block"]:
        return [block for block in self.blocks if block.type == type]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {' '.join([self.type, *self.labels])}"


@dataclass
class Module:
    """All `.tf` files of a directory."""

    directory: Path
    blocks: list[Block] = field(default_factory=list)

    @staticmethod
    def load(directory: Path) -> "Module":
        module = Module(directory)
        for path in sorted(directory.glob("*.tf")):
            module.blocks += parse(path.read_text(), path.name)
        return module

    def of_type(self, type: str) -> list[Block]:
        return [block for block in self.blocks if block.type == type]

    def variables(self) -> dict[str, Block]:
        return {block.labels[0]: block for block in self.of_type("variable")}

    def locals(self) -> dict[str, Attribute]:
        return {name: value for block in self.of_type("locals") for name, value in block.attributes.items()}

    def resources(self) -> dict[tuple[str, str, str], Block]:
        """By (`resource` or `data`, type, name)."""
        return {
            (block.type, block.labels[0], block.labels[1]): block
            for block in self.blocks
            if block.type in ("resource", "data")
        }


def parse(text: str, file: str = "") -> list[Block]:
    tree = hcl2.parses_to_tree(text)
    body = next(child for child in tree.children if is_rule(child, "body"))
    return read_body(body, file)[1]


def read_body(body: Tree, file: str) -> tuple[dict[str, Attribute], list[Block]]:
    attributes, blocks = {}, []
    for child in clean(body):
        if child.data == "attribute":
            parts = [part for part in child.children if isinstance(part, Tree)]
            name = text_of(parts[0])
            if name in attributes:
                raise ValueError(f"{file}: {name} is set twice in one block")
            attributes[name] = Attribute(name, parts[-1], line_of(child))
        elif child.data == "block":
            head, inner = [], None
            for part in child.children:
                if is_rule(part, "body"):
                    inner = part
                elif is_rule(part, "string"):
                    head.append(text_of(part)[1:-1])
                elif isinstance(part, Tree) and part.data not in NOISE:
                    head.append(text_of(part))
            inner_attributes, inner_blocks = read_body(inner, file)
            blocks.append(Block(head[0], head[1:], inner_attributes, inner_blocks, line_of(child), file))
    return attributes, blocks


def clean(tree: Tree) -> list:
    """Children without newlines and comments."""
    return [child for child in tree.children if isinstance(child, Tree) and child.data not in NOISE]


def is_rule(node, name: str) -> bool:
    return isinstance(node, Tree) and node.data == name


def tokens(node) -> list[Token]:
    if isinstance(node, Token):
        return [node]
    return [token for child in node.children if child is not None for token in tokens(child)]


def text_of(node) -> str:
    return "".join(str(token) for token in tokens(node)).strip()


def line_of(node) -> int:
    return next((token.line for token in tokens(node) if str(token).strip()), 0)


def comment_above(lines: list[str], line: int) -> str:
    """The comment lines that stand directly above a line (counted from 1), as one text."""
    found = []
    at = line - 2
    while at >= 0 and lines[at].strip().startswith("#"):
        found.insert(0, lines[at].strip().lstrip("#").strip())
        at -= 1
    return " ".join(found)
