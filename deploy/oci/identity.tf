# Who the machines and the function are. What they may do is in policy-statements.tf.

locals {
  masters_group  = "${var.stackName}-masters-dg"
  media_group    = "${var.stackName}-media-dg"
  function_group = "${var.stackName}-scalein-fn-dg"

  master_ids = [for number in keys(local.master_private_ips) : oci_core_instance.master[number].id]

  # Exactly the four masters.
  masters_rule = "ANY {${join(", ", [for id in local.master_ids : "instance.id = '${id}'"])}}"

  # Instances of a pool cannot be named in advance: all of the compartment but the masters.
  media_rule = "ALL {instance.compartment.id = '${var.compartment_ocid}', ${join(", ", [for id in local.master_ids : "instance.id != '${id}'"])}}"

  # Exactly this function.
  function_rule = local.elastic ? "ALL {resource.type = 'fnfunc', resource.id = '${oci_functions_function.scale_in[0].id}'}" : ""
}

resource "oci_identity_dynamic_group" "masters" {
  provider = oci.home

  compartment_id = var.tenancy_ocid
  name           = local.masters_group
  description    = "The four master nodes of ${var.stackName}"
  matching_rule  = local.masters_rule
  freeform_tags  = local.tags
}

resource "oci_identity_dynamic_group" "media" {
  provider = oci.home

  compartment_id = var.tenancy_ocid
  name           = local.media_group
  description    = "The media nodes of ${var.stackName}"
  matching_rule  = local.media_rule
  freeform_tags  = local.tags
}

resource "oci_identity_dynamic_group" "function" {
  provider = oci.home
  count    = local.elastic ? 1 : 0

  compartment_id = var.tenancy_ocid
  name           = local.function_group
  description    = "The scale-in function of ${var.stackName}"
  matching_rule  = local.function_rule
  freeform_tags  = local.tags
}

# What boot needs. It does not wait for the function, so masters come up whatever becomes of the function's image.
resource "oci_identity_policy" "machines" {
  provider = oci.home

  compartment_id = var.compartment_ocid
  name           = "${var.stackName}-machines-policy"
  description    = "What the machines of ${var.stackName} may do to start"
  statements     = values(local.machine_statements)
  freeform_tags  = local.tags

  depends_on = [oci_identity_dynamic_group.masters, oci_identity_dynamic_group.media]
}

# In the Vault's own compartment, which may be another one.
resource "oci_identity_policy" "vault" {
  provider = oci.home

  compartment_id = local.vault_compartment_id
  name           = "${var.stackName}-vault-policy"
  description    = "What the masters of ${var.stackName} may do with the Vault and its key"
  statements     = values(local.vault_statements)
  freeform_tags  = local.tags

  depends_on = [oci_identity_dynamic_group.masters]
}

resource "oci_identity_policy" "scaling" {
  provider = oci.home
  count    = local.elastic ? 1 : 0

  compartment_id = var.compartment_ocid
  name           = "${var.stackName}-scaling-policy"
  description    = "What scaling the media nodes of ${var.stackName} takes"
  statements     = values(local.scaling_statements)
  freeform_tags  = local.tags

  depends_on = [oci_identity_dynamic_group.masters, oci_identity_dynamic_group.media, oci_identity_dynamic_group.function]
}

resource "oci_identity_policy" "leftovers" {
  provider = oci.home
  count    = local.elastic ? 0 : 1

  compartment_id = var.compartment_ocid
  name           = "${var.stackName}-leftovers-policy"
  description    = "What ending the nodes takes that scale-in left in ${var.stackName} before it had a fixed number"
  statements     = values(local.leftover_statements)
  freeform_tags  = local.tags

  depends_on = [oci_identity_dynamic_group.masters]
}
