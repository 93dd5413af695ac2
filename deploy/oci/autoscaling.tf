# The pool's own rule: one more media node when the CPU is above the target. It never makes fewer, for that would end
# a node with its meetings; fewer is the business of the scale-in function.

resource "oci_autoscaling_auto_scaling_configuration" "media" {
  count = local.elastic ? 1 : 0

  compartment_id       = var.compartment_ocid
  display_name         = "${var.stackName}-autoscaling"
  cool_down_in_seconds = 300
  is_enabled           = true
  freeform_tags        = local.tags

  auto_scaling_resources {
    id   = oci_core_instance_pool.media.id
    type = "instancePool"
  }

  policies {
    display_name = "cpu"
    policy_type  = "threshold"

    capacity {
      # OCI sets the pool to this number when the rule is made, so it is the number that the pool has then.
      initial = local.pool_size
      max     = var.maxNumberOfMediaNodes
      min     = var.minNumberOfMediaNodes
    }

    rules {
      display_name = "scale-out"

      action {
        type  = "CHANGE_COUNT_BY"
        value = 1
      }

      metric {
        metric_type = "CPU_UTILIZATION"

        threshold {
          operator = "GT"
          value    = var.scaleTargetCPU
        }
      }
    }

    # OCI wants a rule for each direction. No CPU is below 0 percent: this one never acts.
    rules {
      display_name = "never-scale-in"

      action {
        type  = "CHANGE_COUNT_BY"
        value = -1
      }

      metric {
        metric_type = "CPU_UTILIZATION"

        threshold {
          operator = "LT"
          value    = 0
        }
      }
    }
  }

  lifecycle {
    # Counts only when the rule is made.
    ignore_changes = [policies[0].capacity[0].initial]
  }
}
