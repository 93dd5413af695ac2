# The locks, made free. Terraform makes them so that destroy finds and removes them; what they say from then on
# is the masters' business.

resource "oci_objectstorage_object" "lock" {
  for_each = toset(["boot.lock", "scalein.lock", "scaleout.lock"])

  namespace    = local.namespace
  bucket       = local.bucket_cluster_data
  object       = each.key
  content      = jsonencode({ holder = "", expires_at = 0 })
  content_type = "application/json"

  lifecycle {
    ignore_changes = all
  }
}
