"""Evaluates the expressions of a module, as far as this module uses the language.

Honest about its limits: what it does not know is `Unsupported`, which neither `can` nor `try` swallows, so a check that
rests on it fails instead of passing for the wrong reason. `check/test_terraform.py` compares it with Terraform itself
where that is installed.
"""

import base64
import ipaddress
import json
import math
import re
from collections.abc import Callable

from lark import Tree

from hcl import Module, clean, is_rule, text_of


class EvaluationError(Exception):
    """The expression fails, as it would in Terraform."""


class Unsupported(Exception):
    """This evaluator does not know it."""


class Scope:
    """What names mean: variables, locals (evaluated when asked for), resources (given by the caller), `each`."""

    def __init__(self, module: Module, variables: dict | None = None, overrides: dict | None = None):
        self.module = module
        self.locals = module.locals()
        self.overrides = overrides or {}
        self.cache: dict[str, object] = {}
        self.variables = {}
        given = variables or {}
        unknown = set(given) - set(module.variables())
        if unknown:
            raise EvaluationError(f"no such variable: {', '.join(sorted(unknown))}")
        for name, block in module.variables().items():
            if name in given:
                self.variables[name] = given[name]
            elif "default" in block.attributes:
                self.variables[name] = evaluate(block.attributes["default"].value, self)

    def root(self, name: str):
        if name == "var":
            return Lazy("var", lambda key: self.variables[key] if key in self.variables else missing("var", key))
        if name == "local":
            return Lazy("local", self.local)
        if name in self.overrides:
            return self.overrides[name]
        raise Unsupported(f"`{name}` means nothing here")

    def local(self, name: str):
        key = f"local.{name}"
        if key in self.overrides:
            return self.overrides[key]
        if name not in self.locals:
            return missing("local", name)
        if name not in self.cache:
            self.cache[name] = evaluate(self.locals[name].value, self)
        return self.cache[name]

    def with_names(self, names: dict) -> "Scope":
        inner = object.__new__(Scope)
        inner.__dict__ = {**self.__dict__, "overrides": {**self.overrides, **names}}
        return inner


class Lazy:
    """An object whose attributes are looked up when they are asked for."""

    def __init__(self, name: str, get: Callable):
        self.name, self.get = name, get


def missing(kind: str, name: str):
    raise Unsupported(f"{kind}.{name} is not known")


def evaluate(node: Tree, scope: Scope):
    rule = RULES.get(node.data)
    if rule is None:
        raise Unsupported(f"syntax `{node.data}`")
    return rule(node, scope)


def expr_term(node, scope):
    return evaluate(clean(node)[0], scope)


def identifier(node, scope):
    return scope.root(text_of(node))


def literal_value(node, _scope):
    return {"true": True, "false": False, "null": None}[text_of(node)]


def number(node, _scope):
    text = text_of(node)
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def string(node, scope):
    parts = []
    for part in clean(node):
        inner = part.children[0]
        if is_rule(inner, "interpolation"):
            value = evaluate(clean(inner)[0], scope)
            if len(clean(node)) == 1:
                return value  # "${x}" alone keeps x's type.
            parts.append(to_string(value))
        elif isinstance(inner, Tree):
            raise Unsupported(f"template directive `{inner.data}`")
        else:
            text = str(inner).replace("$${", "${").replace("%%{", "%{")
            parts.append(re.sub(r"\\(.)", lambda match: ESCAPES[match[1]], text))
    return "".join(parts)


def tuple_(node, scope):
    return [evaluate(child, scope) for child in clean(node)]


def object_(node, scope):
    result = {}
    for element in clean(node):
        key, value = clean(element)
        result[object_key(key, scope)] = evaluate(value, scope)
    return result


def object_key(node, scope) -> str:
    inner = clean(node)[0] if clean(node) else node
    while is_rule(inner, "expr_term") and len(clean(inner)) == 1 and text_of(inner)[0] != "(":
        inner = clean(inner)[0]
    if is_rule(inner, "identifier") or is_rule(inner, "keyword"):
        return text_of(inner)
    return to_string(evaluate(inner, scope))


def conditional(node, scope):
    test, yes, no = clean(node)
    return evaluate(yes if boolean(evaluate(test, scope)) else no, scope)


def binary_op(node, scope):
    left_node, term = clean(node)
    operator, right_node = clean(term)
    left, right = evaluate(left_node, scope), evaluate(right_node, scope)  # Terraform evaluates both, too.
    operator = text_of(operator)
    if operator in ("==", "!="):
        return same(left, right) == (operator == "==")
    if operator in ("&&", "||"):
        left, right = boolean(left), boolean(right)
        return (left and right) if operator == "&&" else (left or right)
    left, right = numeric(left), numeric(right)
    if operator in ("/", "%") and right == 0:
        raise EvaluationError("division by zero")
    return {
        "<": lambda: left < right, ">": lambda: left > right, "<=": lambda: left <= right, ">=": lambda: left >= right,
        "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
        "/": lambda: left / right, "%": lambda: math.fmod(left, right),
    }[operator]()  # fmt: skip


def unary_op(node, scope):
    value = evaluate(clean(node)[0], scope)
    return -numeric(value) if text_of(node)[0] == "-" else not boolean(value)


def get_attr(node, scope):
    target, attribute = clean(node)
    return member(evaluate(target, scope), text_of(clean(attribute)[0]))


def index(node, scope):
    target, at = clean(node)
    key = evaluate(clean(at)[0], scope) if is_rule(at, "braces_index") else int(text_of(at)[1:])
    return member(evaluate(target, scope), key)


def full_splat(node, scope):
    target, splat = clean(node)
    value = evaluate(target, scope)
    items = value if isinstance(value, list) else [] if value is None else [value]
    for step in clean(splat):
        if not is_rule(step, "get_attr"):
            raise Unsupported("an index after a splat")
        items = [member(item, text_of(clean(step)[0])) for item in items]
    return items


def member(target, key):
    if isinstance(target, Lazy):
        return target.get(key)
    if isinstance(target, dict):
        if key not in target:
            raise EvaluationError(f"there is no `{key}`")
        return target[key]
    if isinstance(target, list):
        if not isinstance(key, int) or not 0 <= key < len(target):
            raise EvaluationError(f"there is no element {key}")
        return target[key]
    raise EvaluationError(f"`{key}` of something that has no parts")


def for_tuple(node, scope):
    intro, *rest = clean(node)
    body, condition = rest[0], rest[1] if len(rest) > 1 else None
    result = []
    for inner in rounds(intro, scope):
        if condition is None or boolean(evaluate(clean(condition)[-1], inner)):
            result.append(evaluate(body, inner))
    return result


def for_object(node, scope):
    intro, key, value, *rest = clean(node)
    if "..." in [str(child) for child in node.children]:
        raise Unsupported("grouping in a for expression")
    result = {}
    for inner in rounds(intro, scope):
        if rest and not boolean(evaluate(clean(rest[0])[-1], inner)):
            continue
        name = to_string(evaluate(key, inner))
        if name in result:
            raise EvaluationError(f"the key {name} comes twice")
        result[name] = evaluate(value, inner)
    return result


def rounds(intro, scope):
    *names, source = clean(intro)
    names = [text_of(name) for name in names]
    values = evaluate(source, scope)
    if isinstance(values, dict):
        pairs = sorted(values.items())
    elif isinstance(values, list):
        pairs = list(enumerate(values))
    else:
        raise EvaluationError("for needs a list or a map")
    for key, value in pairs:
        yield scope.with_names({names[0]: value} if len(names) == 1 else {names[0]: key, names[1]: value})


def function_call(node, scope):
    name_node, *rest = clean(node)
    name = text_of(name_node)
    arguments = clean(rest[0]) if rest else []
    spread = bool(rest) and any(str(child) == "..." for child in rest[0].children)
    if name in ("can", "try"):
        return attempt(name, arguments, scope)
    if name not in FUNCTIONS:
        raise Unsupported(f"function `{name}`")
    values = [evaluate(argument, scope) for argument in arguments]
    if spread:
        values = values[:-1] + values[-1]
    return FUNCTIONS[name](*values)


def attempt(name, arguments, scope):
    for argument in arguments:
        try:
            value = evaluate(argument, scope)
            return True if name == "can" else value
        except EvaluationError:
            continue
    if name == "can":
        return False
    raise EvaluationError("no argument of try succeeds")


RULES = {
    "expr_term": expr_term, "identifier": identifier, "literal_value": literal_value, "int_lit": number,
    "float_lit": number, "string": string, "tuple": tuple_, "object": object_, "conditional": conditional,
    "binary_op": binary_op, "unary_op": unary_op, "get_attr_expr_term": get_attr, "index_expr_term": index,
    "full_splat_expr_term": full_splat, "for_tuple_expr": for_tuple, "for_object_expr": for_object,
    "function_call": function_call,
}  # fmt: skip


# ---- types


def boolean(value) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise EvaluationError("true or false is needed")


def numeric(value):
    if isinstance(value, bool) or value is None:
        raise EvaluationError("a number is needed")
    if isinstance(value, (int, float)):
        return value
    try:
        return int(value)
    except (TypeError, ValueError):
        raise EvaluationError("a number is needed") from None


def same(left, right) -> bool:
    return type_class(left) == type_class(right) and left == right


def type_class(value):
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else type(value)


def to_string(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value)
    raise EvaluationError("this cannot be written as a string")


# ---- functions


def go_pattern(pattern: str) -> re.Pattern:
    """Go's `$` is the end of the text; Python's may stand before a last newline."""
    fixed = re.sub(r"(\\.|\[(?:\\.|[^\]])*\])|\$", lambda match: match[1] or r"\Z", pattern)
    return re.compile(fixed)


def regex(pattern, text):
    match = go_pattern(pattern).search(to_string(text))
    if match is None:
        raise EvaluationError("the pattern does not match")
    if match.re.groupindex:
        return match.groupdict()
    return list(match.groups()) if match.groups() else match[0]


def replace(text, old, new):
    if len(old) > 1 and old.startswith("/") and old.endswith("/"):
        return go_pattern(old[1:-1]).sub(new, text)
    return text.replace(old, new)


def cidrhost(block, number):
    network = ip_network(block)
    if number >= network.num_addresses:
        raise EvaluationError("the block does not have so many addresses")
    return str(network[number])


def cidrnetmask(block):
    network = ip_network(block)
    if network.version != 4:
        raise EvaluationError("only IPv4 has netmasks")
    return str(network.netmask)


def ip_network(block):
    if "/" not in block:
        raise EvaluationError("a CIDR block has a slash")
    try:
        return ipaddress.ip_network(block, strict=False)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def base64decode(text):
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode()
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def one(items):
    if len(items) > 1:
        raise EvaluationError("more than one")
    return items[0] if items else None


def lookup(mapping, key, *default):
    if key in mapping:
        return mapping[key]
    if not default:
        raise EvaluationError(f"there is no `{key}`")
    return default[0]


def substr(text, offset, length):
    return text[offset:] if length == -1 else text[offset : offset + length]


def length(value):
    if not isinstance(value, (str, list, dict)):
        raise EvaluationError("this has no length")
    return len(value)


def toset(items):
    return {to_string(item): to_string(item) for item in items}


def setproduct(*sets):
    product = [[]]
    for items in sets:
        product = [[*head, item] for head in product for item in items]
    return product


def tonumber(value):
    return numeric(value)


FUNCTIONS = {
    "alltrue": lambda items: all(boolean(item) for item in items),
    "base64decode": base64decode,
    "base64encode": lambda text: base64.b64encode(text.encode()).decode(),
    "cidrhost": cidrhost,
    "cidrnetmask": cidrnetmask,
    "contains": lambda items, wanted: any(same(item, wanted) for item in items),
    "element": lambda items, at: items[at % len(items)],
    "floor": lambda value: math.floor(numeric(value)),
    "join": lambda separator, items: separator.join(to_string(item) for item in items),
    "jsonencode": lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True),
    "keys": lambda mapping: sorted(mapping),
    "length": length,
    "lookup": lookup,
    "lower": lambda text: text.lower(),
    "max": lambda *values: max(numeric(value) for value in values),
    "merge": lambda *maps: {key: value for mapping in maps for key, value in mapping.items()},
    "min": lambda *values: min(numeric(value) for value in values),
    "one": one,
    "regex": regex,
    "replace": replace,
    "setproduct": setproduct,
    "startswith": lambda text, prefix: text.startswith(prefix),
    "substr": substr,
    "tonumber": tonumber,
    "toset": toset,
    "tostring": to_string,
    "values": lambda mapping: [mapping[key] for key in sorted(mapping)],
}
