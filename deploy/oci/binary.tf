# How `sala` gets onto the machines: cloud-init fetches it, checks its SHA-256, and hands over to `sala oci install`.

locals {
  architectures = toset([local.master_arch, local.media_arch])
  upload        = var.salaBinaryFile != ""

  binary_paths = { for arch in local.architectures : arch => replace(var.salaBinaryFile, "{arch}", arch) }

  binary_urls = {
    for arch in local.architectures : arch =>
    local.upload
    ? "https://objectstorage.${var.region}.oraclecloud.com${oci_objectstorage_preauthrequest.binary[arch].access_uri}"
    : replace(replace(var.salaBinaryUrl, "{arch}", arch), "{version}", var.salaVersion)
  }

  binary_sha256 = {
    for arch in local.architectures : arch =>
    local.upload ? filesha256(local.binary_paths[arch]) : lookup(var.salaBinarySha256, arch, "")
  }

  cloud_init = {
    for arch in local.architectures : arch => base64encode(templatefile("${path.module}/cloud-init.sh.tftpl", {
      url    = local.binary_urls[arch]
      sha256 = local.binary_sha256[arch]
    }))
  }
}

resource "oci_objectstorage_object" "binary" {
  for_each = local.upload ? local.architectures : toset([])

  namespace = local.namespace
  bucket    = local.bucket_cluster_data
  # Named by its content: a new binary is a new object, and machines that start meanwhile find the one they look for.
  object       = "sala/${filesha256(local.binary_paths[each.key])}/sala"
  source       = local.binary_paths[each.key]
  content_type = "application/octet-stream"

  lifecycle {
    create_before_destroy = true
  }
}

# Media nodes fetch the binary whenever the pool grows, years from now if need be. It opens this one object, which is
# no secret.
resource "oci_objectstorage_preauthrequest" "binary" {
  for_each = local.upload ? local.architectures : toset([])

  namespace    = local.namespace
  bucket       = local.bucket_cluster_data
  name         = "${var.stackName}-sala-${each.key}"
  object_name  = oci_objectstorage_object.binary[each.key].object
  access_type  = "ObjectRead"
  time_expires = "2099-12-31T00:00:00Z"

  lifecycle {
    create_before_destroy = true
  }
}
