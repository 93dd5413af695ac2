# One SSH key pair for all machines. Its private half waits in the cluster-data bucket until it is downloaded.

resource "tls_private_key" "ssh" {
  algorithm = "RSA"
  rsa_bits  = 4096
}

resource "oci_objectstorage_object" "ssh_private_key" {
  count = var.sshKeyInBucket ? 1 : 0

  namespace    = local.namespace
  bucket       = local.bucket_cluster_data
  object       = "openvidu_private_ssh_key_${var.stackName}.pem"
  content      = tls_private_key.ssh.private_key_openssh
  content_type = "application/x-pem-file"
}
