# The scale-in function, the only one that may take a media node out of the pool and end it. Elastic mode only.

locals {
  function_image = var.scale_in_function_image == "" ? "${local.region_key}.ocir.io/${local.namespace}/sala-scalein:${var.salaVersion}" : var.scale_in_function_image
}

resource "oci_functions_application" "scale_in" {
  count = local.elastic ? 1 : 0

  compartment_id             = var.compartment_ocid
  display_name               = "${var.stackName}-scalein"
  subnet_ids                 = [oci_core_subnet.functions[0].id]
  network_security_group_ids = [oci_core_network_security_group.functions[0].id]
  freeform_tags              = local.tags

  # A call before its way out is open would fail.
  depends_on = [oci_core_network_security_group_security_rule.functions_egress]
}

resource "oci_functions_function" "scale_in" {
  count = local.elastic ? 1 : 0

  application_id     = oci_functions_application.scale_in[0].id
  display_name       = "scalein"
  image              = local.function_image
  memory_in_mbs      = "128"
  timeout_in_seconds = 120
  freeform_tags      = local.tags

  config = {
    STACK_NAME       = var.stackName
    COMPARTMENT_OCID = var.compartment_ocid
    MIN_MEDIA_NODES  = tostring(var.minNumberOfMediaNodes)
    SCALE_TARGET_CPU = tostring(var.scaleTargetCPU)
    # Younger media nodes are left alone, and while there are any the others too: their CPU tells nothing yet.
    GRACE_SECONDS = "420"
    # Who may ask for more than its own end.
    MASTER_INSTANCE_OCIDS = join(",", [for master in oci_core_instance.master : master.id])
  }

  lifecycle {
    precondition {
      condition     = startswith(local.function_image, "${local.region_key}.ocir.io/")
      error_message = "scale_in_function_image must be in the registry of the deployment's region: ${local.region_key}.ocir.io. OCI Functions takes no image from another region."
    }
  }
}
