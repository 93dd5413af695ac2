# The four masters, spread over fault domains.

locals {
  master_metadata = merge(local.common_metadata, {
    salaRole                 = "master"
    nlbOcid                  = oci_network_load_balancer_network_load_balancer.stack.id
    domainName               = var.domainName
    certificateType          = var.certificateType
    ownPublicCertificate     = var.ownPublicCertificate
    ownPrivateCertificate    = var.ownPrivateCertificate
    rtcEngine                = var.rtcEngine
    initialMeetAdminPassword = var.initialMeetAdminPassword
    initialMeetApiKey        = var.initialMeetApiKey
    additionalInstallFlags   = var.additionalInstallFlags
    acmeDirectoryUrl         = var.acmeDirectoryUrl
    user_data                = local.cloud_init[local.master_arch]
  })

  # Read by the masters while they run, so a change of mode or numbers needs no new machine.
  scaling_tags = {
    "sala-media-mode"       = local.elastic ? "elastic" : "fixed"
    "sala-min-media-nodes"  = tostring(local.elastic ? var.minNumberOfMediaNodes : var.fixedNumberOfMediaNodes)
    "sala-max-media-nodes"  = tostring(local.elastic ? var.maxNumberOfMediaNodes : var.fixedNumberOfMediaNodes)
    "sala-scale-target-cpu" = tostring(var.scaleTargetCPU)
    "sala-scale-out"        = var.scaleOutByMasters ? "on" : "off"
  }
}

resource "oci_core_instance" "master" {
  for_each = local.master_private_ips

  compartment_id       = var.compartment_ocid
  availability_domain  = data.oci_identity_availability_domain.chosen.name
  fault_domain         = element(data.oci_identity_fault_domains.chosen.fault_domains[*].name, tonumber(each.key) - 1)
  display_name         = "${var.stackName}-master-node-${each.key}"
  shape                = var.masterNodeShape
  preserve_boot_volume = false
  metadata             = merge(local.master_metadata, { masterNodeNum = each.key })
  freeform_tags        = merge(local.tags, { "sala-role" = "master" }, local.scaling_tags)

  dynamic "shape_config" {
    for_each = local.master_is_flexible ? [1] : []

    content {
      ocpus         = var.masterNodeOcpus
      memory_in_gbs = var.masterNodeMemory
    }
  }

  source_details {
    source_type             = "image"
    source_id               = data.oci_core_images.master.images[0].id
    boot_volume_size_in_gbs = tostring(var.masterNodeDiskSize)
  }

  create_vnic_details {
    subnet_id        = oci_core_subnet.masters.id
    nsg_ids          = [oci_core_network_security_group.master.id]
    private_ip       = each.value
    assign_public_ip = "true"
    hostname_label   = "master-${each.key}"
    freeform_tags    = local.tags
  }

  # Only the metadata service's version 2, which asks for a header that a forged request cannot carry.
  instance_options {
    are_legacy_imds_endpoints_disabled = true
  }

  lifecycle {
    # A new Ubuntu image, another binary or key pair must not replace masters that run. To replace one: -replace.
    ignore_changes = [
      source_details[0].source_id,
      metadata["user_data"],
      metadata["ssh_authorized_keys"],
    ]

    precondition {
      condition     = length(data.oci_core_images.master.images) > 0
      error_message = "There is no Ubuntu 24.04 image for masterNodeShape in this region: choose another shape."
    }
  }

  # The network is open before the first boot, and on destroy closed after the last machine. The locks go after the
  # masters too: one that still ran would write its lock again, and the bucket could not be deleted.
  depends_on = [
    oci_objectstorage_object.lock,
    oci_core_network_security_group_security_rule.ingress,
    oci_core_network_security_group_security_rule.machine_egress,
  ]
}
