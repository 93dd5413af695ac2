# The two buckets. The operator's own are used as they are and never deleted.

locals {
  namespace           = data.oci_objectstorage_namespace.tenancy.namespace
  bucket_app_data     = var.bucketAppDataName == "" ? oci_objectstorage_bucket.app_data[0].name : var.bucketAppDataName
  bucket_cluster_data = var.bucketClusterDataName == "" ? oci_objectstorage_bucket.cluster_data[0].name : var.bucketClusterDataName
}

# Names of buckets are unique in a region of a tenancy.
resource "random_id" "bucket_suffix" {
  byte_length = 3
}

resource "oci_objectstorage_bucket" "app_data" {
  count = var.bucketAppDataName == "" ? 1 : 0

  compartment_id = var.compartment_ocid
  namespace      = local.namespace
  name           = "${var.stackName}-appdata-${random_id.bucket_suffix.hex}"
  access_type    = "NoPublicAccess"
  freeform_tags  = local.tags
}

resource "oci_objectstorage_bucket" "cluster_data" {
  count = var.bucketClusterDataName == "" ? 1 : 0

  compartment_id = var.compartment_ocid
  namespace      = local.namespace
  name           = "${var.stackName}-clusterdata-${random_id.bucket_suffix.hex}"
  access_type    = "NoPublicAccess"
  freeform_tags  = local.tags
}

# A key for tools that read the recordings by the S3 protocol. Machines sign with their own identity.
resource "oci_identity_customer_secret_key" "s3" {
  provider = oci.home

  display_name = "${var.stackName}-s3-key"
  user_id      = var.user_ocid
}
