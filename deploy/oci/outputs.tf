# What the operator needs next.

locals {
  # As the masters derive it (sala oci boot).
  by_address   = can(regex("--certificate-for=ip", var.additionalInstallFlags))
  derived_host = local.by_address ? local.public_ip : "${replace(local.public_ip, ".", "-")}.sslip.io"
  host         = var.domainName != "" ? var.domainName : local.derived_host
}

output "url" {
  description = "Where the deployment answers once the masters have booted, some minutes after apply."
  value       = "https://${local.host}/"
}

output "public_ip" {
  description = "Address of the balancer. With domainName, its DNS record must point here."
  value       = local.public_ip
}

output "credentials" {
  description = "Where the credentials are."
  value       = "In the console under Security, Vault, ${var.vault_ocid == "" ? "${var.stackName}-vault" : var.vault_ocid}, Secrets: for example MEET_INITIAL_ADMIN_PASSWORD, LIVEKIT_API_KEY and LIVEKIT_API_SECRET (View secret contents, Show decoded Base64 digit). On each master in /opt/openvidu/config/openvidu.env and meet.env."
}

output "ssh_key" {
  description = "Where the SSH key is."
  value       = var.sshKeyInBucket ? "Object openvidu_private_ssh_key_${var.stackName}.pem of the bucket ${local.bucket_cluster_data}. Download it, chmod 600 it, set sshKeyInBucket = false and apply: that deletes it from the bucket." : "No longer in the bucket."
}

output "master_ips" {
  description = "Public addresses of the masters for SSH (user ubuntu), open to sshAllowedCidrs."
  value       = { for number in keys(local.master_private_ips) : number => oci_core_instance.master[number].public_ip }
}

output "next_step" {
  description = "What to do now."
  value       = var.domainName == "" ? "Wait five to ten minutes, then open https://${local.host}/ and log in as admin." : "Point the DNS record of ${local.host} to ${local.public_ip}, wait five to ten minutes, then open https://${local.host}/ and log in as admin."
}

output "s3_access_key_id" {
  description = "Access key id for S3 tools that read the recordings."
  value       = oci_identity_customer_secret_key.s3.id
}

output "s3_secret_key" {
  description = "Its secret: terraform output -raw s3_secret_key."
  value       = oci_identity_customer_secret_key.s3.key
  sensitive   = true
}

output "draining_media_nodes" {
  description = "Media nodes that have left the pool and end when their meetings have moved. Let them finish before destroy or a change to a fixed number."
  value       = local.draining
}
