# What several files need to know.

locals {
  elastic = var.fixedNumberOfMediaNodes == 0

  # On every resource that can be tagged; masters and the function find the stack's machines by it.
  tags = { "sala-stack" = var.stackName }

  # New for each creation of the stack, so that a reused Vault's older secrets mislead nobody.
  deployment_generation = random_id.deployment_generation.hex

  home_region = one([for subscription in data.oci_identity_region_subscriptions.all.region_subscriptions : subscription.region_name if subscription.is_home_region])
  region_key  = one([for region in data.oci_identity_regions.all.regions : lower(region.key) if region.name == var.region])

  flex_pattern       = "\\.Flex$"
  arm_pattern        = "^(VM|BM)\\.Standard\\.A[0-9]"
  master_is_flexible = can(regex(local.flex_pattern, var.masterNodeShape))
  media_is_flexible  = can(regex(local.flex_pattern, var.mediaNodeShape))
  master_arch        = can(regex(local.arm_pattern, var.masterNodeShape)) ? "aarch64" : "x86_64"
  media_arch         = can(regex(local.arm_pattern, var.mediaNodeShape)) ? "aarch64" : "x86_64"

  # What both roles are told about where they are (metadata of the instances).
  common_metadata = {
    stackName              = var.stackName
    deploymentGeneration   = local.deployment_generation
    tenancyOcid            = var.tenancy_ocid
    compartmentOcid        = var.compartment_ocid
    region                 = var.region
    vaultOcid              = local.vault_id
    keyOcid                = var.key_ocid
    objectStorageNamespace = local.namespace
    bucketAppData          = local.bucket_app_data
    bucketClusterData      = local.bucket_cluster_data
    ssh_authorized_keys    = tls_private_key.ssh.public_key_openssh
  }
}

resource "random_id" "deployment_generation" {
  byte_length = 8
}
