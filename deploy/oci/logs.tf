# What the function says, kept for 30 days. The masters and media nodes log to their journals.

resource "oci_logging_log_group" "scale_in" {
  count = local.elastic ? 1 : 0

  compartment_id = var.compartment_ocid
  display_name   = "${var.stackName}-scalein-logs"
  freeform_tags  = local.tags
}

resource "oci_logging_log" "scale_in" {
  count = local.elastic ? 1 : 0

  display_name       = "${var.stackName}-scalein-invocations"
  log_group_id       = oci_logging_log_group.scale_in[0].id
  log_type           = "SERVICE"
  is_enabled         = true
  retention_duration = 30
  freeform_tags      = local.tags

  configuration {
    compartment_id = var.compartment_ocid

    source {
      category    = "invoke"
      resource    = oci_functions_application.scale_in[0].id
      service     = "functions"
      source_type = "OCISERVICE"
    }
  }
}
