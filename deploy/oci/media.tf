# The media nodes: an instance pool whose size autoscaling, masters and the function change.

locals {
  live_pools = [
    for pool in data.oci_core_instance_pools.media.instance_pools : pool
    if !contains(["TERMINATING", "TERMINATED"], pool.state)
  ]

  # The size that the pool has now is the one that Terraform asks for, within the limits: an apply in the middle of a
  # busy day, or a change from fixed to elastic, ends no media node.
  current_size = length(local.live_pools) > 0 ? local.live_pools[0].size : var.initialNumberOfMediaNodes
  elastic_size = max(var.minNumberOfMediaNodes, min(var.maxNumberOfMediaNodes, local.current_size))
  pool_size    = local.elastic ? local.elastic_size : var.fixedNumberOfMediaNodes

  draining = [
    for instance in data.oci_core_instances.of_stack.instances : instance.id
    if lookup(instance.freeform_tags, "sala-stack", "") == var.stackName && lookup(instance.freeform_tags, "sala-draining", "") != ""
  ]
}

resource "oci_core_instance_configuration" "media" {
  compartment_id = var.compartment_ocid
  display_name   = "${var.stackName}-media-config"
  freeform_tags  = local.tags

  instance_details {
    instance_type = "compute"

    launch_details {
      compartment_id      = var.compartment_ocid
      availability_domain = data.oci_identity_availability_domain.chosen.name
      display_name        = "${var.stackName}-media-node"
      shape               = var.mediaNodeShape
      freeform_tags       = merge(local.tags, { "sala-role" = "media" })

      metadata = merge(local.common_metadata, {
        salaRole          = "media"
        mastersPrivateIps = join(",", values(local.master_private_ips))
        user_data         = local.cloud_init[local.media_arch]
      })

      dynamic "shape_config" {
        for_each = local.media_is_flexible ? [1] : []

        content {
          ocpus         = var.mediaNodeOcpus
          memory_in_gbs = var.mediaNodeMemory
        }
      }

      source_details {
        source_type             = "image"
        image_id                = data.oci_core_images.media.images[0].id
        boot_volume_size_in_gbs = tostring(var.mediaNodeDiskSize)
      }

      create_vnic_details {
        subnet_id        = oci_core_subnet.media.id
        nsg_ids          = [oci_core_network_security_group.media.id]
        assign_public_ip = true
        freeform_tags    = local.tags
      }

      instance_options {
        are_legacy_imds_endpoints_disabled = true
      }
    }
  }

  lifecycle {
    # The pool changes over to a new configuration before the old one goes. Running media nodes stay as they are.
    create_before_destroy = true

    precondition {
      condition     = length(data.oci_core_images.media.images) > 0
      error_message = "There is no Ubuntu 24.04 image for mediaNodeShape in this region: choose another shape."
    }
  }
}

resource "oci_core_instance_pool" "media" {
  compartment_id            = var.compartment_ocid
  instance_configuration_id = oci_core_instance_configuration.media.id
  display_name              = "${var.stackName}-media-pool"
  size                      = local.pool_size
  freeform_tags             = merge(local.tags, { "sala-role" = "media" })

  placement_configurations {
    availability_domain = data.oci_identity_availability_domain.chosen.name
    fault_domains       = data.oci_identity_fault_domains.chosen.fault_domains[*].name
    primary_subnet_id   = oci_core_subnet.media.id
  }

  # For destroy, which goes backwards: the pool ends first, while the masters, the function and their rights are
  # still there to end what was detached from it.
  depends_on = [
    oci_core_instance.master,
    oci_core_network_security_group_security_rule.ingress,
    oci_core_network_security_group_security_rule.machine_egress,
    oci_functions_function.scale_in,
    oci_identity_policy.machines,
    oci_identity_policy.scaling,
    oci_identity_policy.vault,
  ]
}
