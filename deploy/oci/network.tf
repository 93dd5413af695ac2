# The network: balancer, masters, media nodes and function each have a subnet. What may pass is in ports.tf.

locals {
  vcn_cidr       = "10.0.0.0/16"
  balancer_cidr  = "10.0.0.0/24"
  masters_cidr   = "10.0.1.0/24"
  media_cidr     = "10.0.2.0/24"
  functions_cidr = "10.0.3.0/24"
  anywhere       = "0.0.0.0/0"

  # A DNS label takes 15 letters and digits.
  dns_label = lower(substr(replace(var.stackName, "/[^A-Za-z0-9]/", ""), 0, 15))

  # Fixed, so that a master which is replaced has the address that the others know. Nothing else is in their subnet: it
  # might be given one of these.
  master_private_ips = { for number in ["1", "2", "3", "4"] : number => cidrhost(local.masters_cidr, 10 + tonumber(number)) }
}

resource "oci_core_vcn" "stack" {
  compartment_id = var.compartment_ocid
  cidr_blocks    = [local.vcn_cidr]
  display_name   = "${var.stackName}-vcn"
  dns_label      = local.dns_label
  freeform_tags  = local.tags
}

resource "oci_core_internet_gateway" "stack" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-ig"
  enabled        = true
  freeform_tags  = local.tags
}

resource "oci_core_route_table" "public" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-rt"
  freeform_tags  = local.tags

  route_rules {
    destination       = local.anywhere
    destination_type  = "CIDR_BLOCK"
    network_entity_id = oci_core_internet_gateway.stack.id
  }
}

# Allows nothing. Without it a subnet gets the VCN's default list, which opens SSH to the world.
resource "oci_core_security_list" "closed" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-closed-sl"
  freeform_tags  = local.tags
}

resource "oci_core_subnet" "balancer" {
  compartment_id    = var.compartment_ocid
  vcn_id            = oci_core_vcn.stack.id
  cidr_block        = local.balancer_cidr
  display_name      = "${var.stackName}-nlb-subnet"
  dns_label         = "balancer"
  route_table_id    = oci_core_route_table.public.id
  security_list_ids = [oci_core_security_list.closed.id]
  freeform_tags     = local.tags
}

resource "oci_core_subnet" "masters" {
  compartment_id    = var.compartment_ocid
  vcn_id            = oci_core_vcn.stack.id
  cidr_block        = local.masters_cidr
  display_name      = "${var.stackName}-subnet"
  dns_label         = "masters"
  route_table_id    = oci_core_route_table.public.id
  security_list_ids = [oci_core_security_list.closed.id]
  freeform_tags     = local.tags
}

resource "oci_core_subnet" "media" {
  compartment_id    = var.compartment_ocid
  vcn_id            = oci_core_vcn.stack.id
  cidr_block        = local.media_cidr
  display_name      = "${var.stackName}-media-subnet"
  dns_label         = "media"
  route_table_id    = oci_core_route_table.public.id
  security_list_ids = [oci_core_security_list.closed.id]
  freeform_tags     = local.tags
}

# The function reaches Oracle's services and nothing else: no internet, neither in nor out.
data "oci_core_services" "oracle" {
  count = local.elastic ? 1 : 0

  filter {
    name   = "name"
    values = ["All .* Services In Oracle Services Network"]
    regex  = true
  }
}

resource "oci_core_service_gateway" "functions" {
  count = local.elastic ? 1 : 0

  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-sg"
  freeform_tags  = local.tags

  services {
    service_id = data.oci_core_services.oracle[0].services[0].id
  }
}

resource "oci_core_route_table" "functions" {
  count = local.elastic ? 1 : 0

  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-functions-rt"
  freeform_tags  = local.tags

  route_rules {
    destination       = data.oci_core_services.oracle[0].services[0].cidr_block
    destination_type  = "SERVICE_CIDR_BLOCK"
    network_entity_id = oci_core_service_gateway.functions[0].id
  }
}

resource "oci_core_subnet" "functions" {
  count = local.elastic ? 1 : 0

  compartment_id             = var.compartment_ocid
  vcn_id                     = oci_core_vcn.stack.id
  cidr_block                 = local.functions_cidr
  display_name               = "${var.stackName}-functions-subnet"
  dns_label                  = "functions"
  route_table_id             = oci_core_route_table.functions[0].id
  security_list_ids          = [oci_core_security_list.closed.id]
  prohibit_public_ip_on_vnic = true
  freeform_tags              = local.tags
}
