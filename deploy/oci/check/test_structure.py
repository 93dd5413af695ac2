"""Every resource, attribute, block and name is one that Terraform would take."""

import pytest

import schema
import structure


def test_terraform_would_take_every_type_attribute_block_and_name(module, schemas):
    assert structure.problems(module, schemas) == []


def test_the_schema_is_there_for_every_resource(module, schemas):
    assert len(schemas) == len({(kind, type) for kind, type, _name in module.resources()}) > 30


def test_the_module_asks_for_the_provider_version_that_it_was_checked_with(module):
    text = (module.directory / "versions.tf").read_text()
    for provider, (_wheel, version) in schema.PACKAGES.items():
        major = version.split(".")[0]
        assert f'version = "~> {major}.' in text.split(f"    {provider} = {{")[1].split("}")[0]


@pytest.mark.parametrize(
    "file, old, new, told",
    [
        ("network.tf", "cidr_block        =", "cidr_blok        =", "there is no attribute cidr_blok"),
        ("network.tf", "cidr_block        = local.masters_cidr\n", "", "cidr_block is missing"),
        ("network.tf", '"oci_core_vcn" "stack"', '"oci_core_vnc" "stack"', "the provider has no resource oci_core_vnc"),
        ("balancer.tf", "health_checker {", "health_check {", "there is no block health_check"),
        ("balancer.tf", "health_checker {", "health_check {", "the block health_checker is missing"),
        ("balancer.tf", "is_ppv2enabled ", "is_ppv2_enabled ", "there is no attribute is_ppv2_enabled"),
        ("masters.tf", "ocpus         = var.masterNodeOcpus", "ocpu = 2", "there is no attribute ocpu"),
        ("masters.tf", "var.masterNodeOcpus", "var.masterNodeOcpu", "there is no variable masterNodeOcpu"),
        ("masters.tf", "local.scaling_tags)", "local.scaling_tag)", "there is no local scaling_tag"),
        ("masters.tf", "images[0].id", "images[0].ocid", "has no attribute ocid"),
        ("masters.tf", "oci_core_subnet.masters.id", "oci_core_subnet.master.id", "there is no oci_core_subnet.master"),
        ("masters.tf", "source_details[0].source_id,", "source_details[0].source_ids,", "has no attribute source_ids"),
        ("function.tf", "oci_functions_application.scale_in[0].id", "oci_functions_application.scale_in.id", "is a list"),
        ("media.tf", "instance_details {", "instance_details {\n    shape = 1", "there is no attribute shape"),
        ("media.tf", "contains([", "contain([", "there is no function contain"),
        ("autoscaling.tf", "auto_scaling_resources {", "auto_scaling_resources = {", "is a block, written without ="),
        ("vault.tf", 'vault_type     = "DEFAULT"', 'vault_type = "DEFAULT"\n  crypto_endpoint = "x"', "it cannot be set"),
        ("identity.tf", "provider = oci.home", "provider = oci.house", "there is no provider oci.house"),
    ],
)
def test_what_terraform_would_refuse_is_found(edited, schemas, file, old, new, told):
    module = edited(file, old, new)
    assert any(told in problem for problem in structure.problems(module, schemas))


def test_logic_is_in_the_binary_not_in_provisioners(module):
    def all_blocks(blocks):
        for block in blocks:
            yield block
            yield from all_blocks(block.blocks)

    assert not [block for block in all_blocks(module.blocks) if block.type in ("provisioner", "connection")]
    assert not [type for _kind, type, _name in module.resources() if type in ("null_resource", "terraform_data")]
    cloud_init = (module.directory / "cloud-init.sh.tftpl").read_text().splitlines()
    assert len(cloud_init) < 30 and cloud_init[-1] == "exec /usr/local/bin/sala oci install"


def test_every_file_says_what_it_is_for(module):
    for path in module.directory.glob("*.tf"):
        assert path.read_text().startswith("# "), path.name
        assert len(path.read_text().splitlines()) < 300, path.name
