"""Finds what Terraform would refuse: unknown types, attributes and blocks, missing required ones, names that mean
nothing. Each problem is one sentence with its place."""

from lark import Token, Tree

from evaluate import FUNCTIONS
from hcl import Block, Module, clean, is_rule, text_of
from schema import Schemas

META_ATTRIBUTES = {"count", "for_each", "provider", "depends_on"}
META_BLOCKS = {"lifecycle", "dynamic"}
MORE_FUNCTIONS = {"can", "try", "filesha256", "templatefile"}


def problems(module: Module, schemas: Schemas) -> list[str]:
    found = []
    for (kind, type, _name), block in module.resources().items():
        schema = schemas.get((kind, type))
        if schema is None:
            found.append(f"{block}: the provider has no {'data source' if kind == 'data' else 'resource'} {type}")
        else:
            found += body_problems(block, schema, str(block), top=True)
    found += [problem for block in module.blocks for problem in Names(module, schemas).in_block(block)]
    return found


def body_problems(block: Block, schema: dict, where: str, top: bool = False) -> list[str]:
    found = []
    dynamic = {inner.labels[0]: inner.named("content")[0] for inner in block.named("dynamic")}
    for name in block.attributes:
        attribute = schema["attributes"].get(name)
        if top and name in META_ATTRIBUTES:
            continue
        if name in schema["blocks"]:
            found.append(f"{where}: {name} is a block, written without =")
        elif attribute is None:
            found.append(f"{where}: there is no attribute {name}")
        elif not (attribute["required"] or attribute["optional"]):
            found.append(f"{where}: {name} is computed, it cannot be set")
    inner_blocks = [(inner.type, inner) for inner in block.blocks if inner.type not in META_BLOCKS] + list(dynamic.items())
    for name, inner in inner_blocks:
        if name not in schema["blocks"]:
            found.append(f"{where}: there is no block {name}")
        else:
            found += body_problems(inner, schema["blocks"][name]["block"], f"{where}, {name}")
    for name, inner in schema["blocks"].items():
        count = sum(1 for present, _ in inner_blocks if present == name)
        if inner["required"] and count == 0:
            found.append(f"{where}: the block {name} is missing")
        if inner["one"] and count > 1:
            found.append(f"{where}: only one block {name} may be there")
    for name, attribute in schema["attributes"].items():
        if attribute["required"] and name not in block.attributes:
            found.append(f"{where}: {name} is missing")
    return found


class Names:
    """Follows every name in an expression to what it stands for."""

    def __init__(self, module: Module, schemas: Schemas):
        self.variables = module.variables()
        self.locals = module.locals()
        self.resources = module.resources()
        self.schemas = schemas
        self.providers = {
            f"{block.labels[0]}.{text_of(block.attributes['alias'].value)[1:-1]}"
            for block in module.of_type("provider")
            if "alias" in block.attributes
        }

    def in_block(self, block: Block, bound: frozenset = frozenset()) -> list[str]:
        if block.type == "terraform":
            return []
        if "for_each" in block.attributes and block.type != "dynamic":
            bound |= {"each"}
        if "count" in block.attributes:
            bound |= {"count"}
        found = []
        for name, attribute in block.attributes.items():
            if block.type == "variable" and name == "type":
                continue
            if name == "ignore_changes":
                continue  # Attributes of the resource itself; checked with the resource below.
            if name == "provider":
                if text_of(attribute.value) not in self.providers:
                    found.append(f"{block}: there is no provider {text_of(attribute.value)}")
                continue
            found += [f"{block}, {name}: {problem}" for problem in self.in_tree(attribute.value, bound)]
        for inner in block.blocks:
            names = bound | {inner.labels[0]} if inner.type == "dynamic" else bound
            found += self.in_block(inner, names)
        if block.type == "resource":
            found += self.ignored(block)
        return found

    def ignored(self, block: Block) -> list[str]:
        schema = self.schemas.get(("resource", block.labels[0]))
        found = []
        for lifecycle in block.named("lifecycle") if schema else []:
            attribute = lifecycle.attributes.get("ignore_changes")
            if attribute is None or text_of(attribute.value) == "all":
                continue
            for path in clean(clean(attribute.value)[0]):
                base, steps = chain(path)
                problem = self.walk(object_type(schema), [("attr", text_of(base)), *steps])
                found += [f"{block}, ignore_changes: {problem}"] if problem else []
        return found

    def in_tree(self, node, bound: frozenset) -> list[str]:
        if isinstance(node, Token) or node is None:
            return []
        if node.data in ("for_tuple_expr", "for_object_expr"):
            return self.in_for(node, bound)
        if node.data == "object_elem":
            key, value = clean(node)
            bare = clean(key) and is_bare_name(clean(key)[0])
            return ([] if bare else self.in_tree(key, bound)) + self.in_tree(value, bound)
        if node.data == "function_call":
            name = text_of(clean(node)[0])
            unknown = [] if name in FUNCTIONS or name in MORE_FUNCTIONS else [f"there is no function {name}"]
            return unknown + [problem for child in clean(node)[1:] for problem in self.in_tree(child, bound)]
        if starts := chain(node):
            base, steps = starts
            if is_rule(base, "identifier"):
                problem = self.name(text_of(base), steps, bound)
                inner = [problem for kind, step in steps if kind == "index" for problem in self.in_tree(step, bound)]
                return ([problem] if problem else []) + inner
        return [problem for child in node.children for problem in self.in_tree(child, bound)]

    def in_for(self, node: Tree, bound: frozenset) -> list[str]:
        intro, *rest = clean(node)
        *names, source = clean(intro)
        inner = bound | {text_of(name) for name in names}
        found = self.in_tree(source, bound)
        return found + [problem for child in rest for problem in self.in_tree(child, inner)]

    def name(self, base: str, steps: list, bound: frozenset) -> str | None:
        first = steps[0][1] if steps and steps[0][0] == "attr" else None
        if base in bound:
            return None
        if base == "var":
            return None if first in self.variables else f"there is no variable {first}"
        if base == "local":
            return None if first in self.locals else f"there is no local {first}"
        if base == "path":
            return None if first in ("module", "root", "cwd") else f"there is no path.{first}"
        kind, type = ("data", first) if base == "data" else ("resource", base)
        steps = steps[1:] if base == "data" else steps
        name = steps[0][1] if steps else None
        block = self.resources.get((kind, type, name))
        if block is None:
            return f"there is no {base}.{'.'.join(str(step) for _kind, step in steps)}"
        schema = self.schemas.get((kind, type))
        if schema is None:
            return None  # Told already.
        value = object_type(schema)
        if "count" in block.attributes:
            value = ["list", value]
        elif "for_each" in block.attributes:
            value = ["map", value]
        return self.walk(value, steps[1:], f"{type}.{name}")

    def walk(self, value, steps: list, path: str = "") -> str | None:
        for kind, step in steps:
            outer, inner = (value[0], value[1]) if isinstance(value, list) else (value, None)
            if kind == "splat":
                value = ["splat", inner if outer == "list" else value]
            elif kind == "attr" and outer == "object":
                if step not in inner:
                    return f"{path} has no attribute {step}"
                value = inner[step]
            elif kind == "attr" and outer == "splat" and inner[0] == "object":
                if step not in inner[1]:
                    return f"{path} has no attribute {step}"
                value = ["splat", inner[1][step]]
            elif outer in ("list", "map", "splat") and (kind == "index" or outer == "map"):
                value = inner
            else:
                return f"{path} is a {outer}, it has no part"
            path = f"{path}.{step}" if kind == "attr" else f"{path}[]"
        return None


def object_type(schema: dict) -> list:
    parts = {name: attribute["type"] for name, attribute in schema["attributes"].items()}
    for name, inner in schema["blocks"].items():
        parts[name] = ["list", object_type(inner["block"])]
    return ["object", parts]


def is_bare_name(node) -> bool:
    while is_rule(node, "expr_term") and len(clean(node)) == 1:
        node = clean(node)[0]
    return is_rule(node, "identifier") or is_rule(node, "keyword") or isinstance(node, Token)


def chain(node: Tree):
    """`a.b[0].c` as its first part and its steps; None for anything else."""
    steps = []
    while isinstance(node, Tree):
        if node.data == "expr_term" and len(clean(node)) == 1 and text_of(node)[0] != "(":
            node = clean(node)[0]
        elif node.data == "get_attr_expr_term":
            node, attribute = clean(node)
            steps.insert(0, ("attr", text_of(clean(attribute)[0])))
        elif node.data == "index_expr_term":
            node, at = clean(node)
            steps.insert(0, ("index", at))
        elif node.data == "full_splat_expr_term":
            node, splat = clean(node)
            steps[0:0] = [("splat", None), *[("attr", text_of(clean(step)[0])) for step in clean(splat)]]
        else:
            break
    if is_rule(node, "identifier"):
        return node, steps
    return (node, steps) if steps else None


