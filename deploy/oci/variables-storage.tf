# Buckets, Vault and key: existing ones may be used. What was given here is never deleted.

variable "bucketAppDataName" {
  description = "Existing bucket for recordings and application data. Blank creates one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{0,256}$", var.bucketAppDataName))
    error_message = "bucketAppDataName must be the name of a bucket: at most 256 letters, digits, dots, hyphens and underscores."
  }
}

variable "bucketClusterDataName" {
  description = "Existing bucket for what the machines share: the SSH key, scalein.lock. Blank creates one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{0,256}$", var.bucketClusterDataName))
    error_message = "bucketClusterDataName must be the name of a bucket: at most 256 letters, digits, dots, hyphens and underscores."
  }

  validation {
    condition     = var.bucketClusterDataName == "" || var.bucketClusterDataName != var.bucketAppDataName
    error_message = "bucketClusterDataName must not be the bucket of bucketAppDataName: the machines' rights differ between the two."
  }
}

variable "vault_ocid" {
  description = "OCID of an existing Vault for the secrets, in any compartment. Blank creates one."
  type        = string
  default     = ""

  validation {
    condition     = var.vault_ocid == "" || can(regex("^ocid1\\.vault\\.[a-z0-9]+\\.", var.vault_ocid))
    error_message = "vault_ocid must be the OCID of a Vault: it begins with ocid1.vault (console: Security, Vault)."
  }
}

variable "key_ocid" {
  description = "OCID of an existing key in the Vault of vault_ocid, with which the secrets are encrypted. Blank: the first master makes the key <stackName>-key."
  type        = string
  default     = ""

  validation {
    condition     = var.key_ocid == "" || can(regex("^ocid1\\.key\\.[a-z0-9]+\\.", var.key_ocid))
    error_message = "key_ocid must be the OCID of a key: it begins with ocid1.key (console: Security, Vault, your Vault, Master encryption keys)."
  }

  validation {
    condition     = var.key_ocid == "" || var.vault_ocid != ""
    error_message = "key_ocid needs vault_ocid: a key belongs to a Vault, and a new Vault does not have yours."
  }
}
