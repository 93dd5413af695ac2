# What the tenancy already has.

data "oci_identity_region_subscriptions" "all" {
  tenancy_id = var.tenancy_ocid
}

data "oci_identity_regions" "all" {}

data "oci_identity_availability_domain" "chosen" {
  compartment_id = var.tenancy_ocid
  ad_number      = var.availability_domain
}

data "oci_identity_fault_domains" "chosen" {
  compartment_id      = var.tenancy_ocid
  availability_domain = data.oci_identity_availability_domain.chosen.name
}

data "oci_objectstorage_namespace" "tenancy" {
  compartment_id = var.tenancy_ocid
}

# The newest Ubuntu 24.04 for the shape, and so for its processor.
data "oci_core_images" "master" {
  compartment_id           = var.tenancy_ocid
  operating_system         = "Canonical Ubuntu"
  operating_system_version = "24.04"
  shape                    = var.masterNodeShape
  sort_by                  = "TIMECREATED"
  sort_order               = "DESC"
}

data "oci_core_images" "media" {
  compartment_id           = var.tenancy_ocid
  operating_system         = "Canonical Ubuntu"
  operating_system_version = "24.04"
  shape                    = var.mediaNodeShape
  sort_by                  = "TIMECREATED"
  sort_order               = "DESC"
}

# How many media nodes there are now: autoscaling, masters and function change that between two applies.
data "oci_core_instance_pools" "media" {
  compartment_id = var.compartment_ocid
  display_name   = "${var.stackName}-media-pool"
}

# Media nodes that have been taken out of the pool and end when their meetings have moved away.
data "oci_core_instances" "of_stack" {
  compartment_id = var.compartment_ocid
  state          = "RUNNING"
}
