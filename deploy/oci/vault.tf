# The Vault for the cluster's secrets. The secrets, and without key_ocid the key, are made by the first master: a
# new Vault's key endpoint may take minutes to resolve, and waiting is done better there.

locals {
  vault_id             = var.vault_ocid == "" ? oci_kms_vault.stack[0].id : var.vault_ocid
  vault_compartment_id = var.vault_ocid == "" ? var.compartment_ocid : data.oci_kms_vault.given[0].compartment_id
}

resource "oci_kms_vault" "stack" {
  count = var.vault_ocid == "" ? 1 : 0

  compartment_id = var.compartment_ocid
  display_name   = "${var.stackName}-vault"
  vault_type     = "DEFAULT"
  freeform_tags  = local.tags
}

data "oci_kms_vault" "given" {
  count = var.vault_ocid == "" ? 0 : 1

  vault_id = var.vault_ocid
}
