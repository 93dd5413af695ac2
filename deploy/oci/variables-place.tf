# Where the deployment goes. The first four have no default: nobody else can know them.

variable "tenancy_ocid" {
  description = "OCID of your tenancy. Dynamic groups belong to it, and Ubuntu's images are looked up in it."
  type        = string

  validation {
    condition     = can(regex("^ocid1\\.tenancy\\.[a-z0-9]+\\.", var.tenancy_ocid))
    error_message = "tenancy_ocid must be the OCID of a tenancy: it begins with ocid1.tenancy (console: Profile, Tenancy)."
  }
}

variable "compartment_ocid" {
  description = "OCID of the compartment in which everything is created."
  type        = string

  validation {
    condition     = can(regex("^ocid1\\.(compartment|tenancy)\\.[a-z0-9]+\\.", var.compartment_ocid))
    error_message = "compartment_ocid must be the OCID of a compartment: it begins with ocid1.compartment (console: Identity, Compartments)."
  }
}

variable "user_ocid" {
  description = "OCID of the user who owns the S3 customer secret key: the key with which S3 tools read the recordings. The machines themselves sign with their own identity."
  type        = string

  validation {
    condition     = can(regex("^ocid1\\.user\\.[a-z0-9]+\\.", var.user_ocid))
    error_message = "user_ocid must be the OCID of a user: it begins with ocid1.user (console: Profile, User settings)."
  }
}

variable "stackName" {
  description = "Name of the deployment. All its resources begin with it; two deployments in one compartment need different names."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{0,49}$", var.stackName))
    error_message = "stackName must begin with a letter and consist of at most 50 letters, digits, hyphens and underscores, for example openvidu-ha."
  }
}

variable "openviduLicense" {
  description = "Not used: Sala needs no licence. Accepted so that a terraform.tfvars written for OpenVidu works as it is."
  type        = string
  default     = ""
  sensitive   = true
}

variable "region" {
  description = "OCI region in which everything is created."
  type        = string
  default     = "eu-frankfurt-1"

  validation {
    condition     = can(regex("^[a-z]{2,3}(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must be the identifier of an OCI region, for example eu-frankfurt-1 or us-ashburn-1."
  }
}

variable "availability_domain" {
  description = "Number of the availability domain for all machines: 1, 2 or 3. Regions with a single one have only 1. The masters are spread over its fault domains."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 3], var.availability_domain)
    error_message = "availability_domain must be 1, 2 or 3."
  }
}
