# Size of the machines.

variable "masterNodeShape" {
  description = "Shape of the master nodes, all four alike. Arm shapes (VM.Standard.A*, BM.Standard.A*) work too."
  type        = string
  default     = "VM.Standard.E4.Flex"

  validation {
    condition     = can(regex("^(VM|BM)\\.[A-Za-z0-9]+(\\.[A-Za-z0-9]+)+$", var.masterNodeShape))
    error_message = "masterNodeShape must be the name of an OCI shape, for example VM.Standard.E4.Flex or VM.Standard.A1.Flex."
  }
}

variable "masterNodeOcpus" {
  description = "OCPUs of each master node. Only used with Flex shapes."
  type        = number
  default     = 2

  validation {
    condition     = var.masterNodeOcpus >= 1 && var.masterNodeOcpus <= 144 && floor(var.masterNodeOcpus) == var.masterNodeOcpus
    error_message = "masterNodeOcpus must be a whole number from 1 to 144."
  }
}

variable "masterNodeMemory" {
  description = "Memory of each master node in GB. Only used with Flex shapes."
  type        = number
  default     = 8

  validation {
    condition     = var.masterNodeMemory >= 1 && var.masterNodeMemory <= 1760 && floor(var.masterNodeMemory) == var.masterNodeMemory
    error_message = "masterNodeMemory must be a whole number of GB from 1 to 1760."
  }

  validation {
    condition     = var.masterNodeMemory >= var.masterNodeOcpus && var.masterNodeMemory <= var.masterNodeOcpus * 64
    error_message = "masterNodeMemory must be 1 to 64 GB for each of the masterNodeOcpus: OCI refuses other Flex shapes."
  }
}

variable "masterNodeDiskSize" {
  description = "Boot disk of each master node in GB."
  type        = number
  default     = 100

  validation {
    condition     = var.masterNodeDiskSize >= 50 && var.masterNodeDiskSize <= 32768 && floor(var.masterNodeDiskSize) == var.masterNodeDiskSize
    error_message = "masterNodeDiskSize must be a whole number of GB from 50, what an OCI boot disk has at least, to 32768."
  }
}

variable "mediaNodeShape" {
  description = "Shape of the media nodes. Arm shapes (VM.Standard.A*, BM.Standard.A*) work too."
  type        = string
  default     = "VM.Standard.E4.Flex"

  validation {
    condition     = can(regex("^(VM|BM)\\.[A-Za-z0-9]+(\\.[A-Za-z0-9]+)+$", var.mediaNodeShape))
    error_message = "mediaNodeShape must be the name of an OCI shape, for example VM.Standard.E4.Flex or VM.Standard.A1.Flex."
  }
}

variable "mediaNodeOcpus" {
  description = "OCPUs of each media node. Only used with Flex shapes."
  type        = number
  default     = 3

  validation {
    condition     = var.mediaNodeOcpus >= 1 && var.mediaNodeOcpus <= 144 && floor(var.mediaNodeOcpus) == var.mediaNodeOcpus
    error_message = "mediaNodeOcpus must be a whole number from 1 to 144."
  }
}

variable "mediaNodeMemory" {
  description = "Memory of each media node in GB. Only used with Flex shapes."
  type        = number
  default     = 4

  validation {
    condition     = var.mediaNodeMemory >= 1 && var.mediaNodeMemory <= 1760 && floor(var.mediaNodeMemory) == var.mediaNodeMemory
    error_message = "mediaNodeMemory must be a whole number of GB from 1 to 1760."
  }

  validation {
    condition     = var.mediaNodeMemory >= var.mediaNodeOcpus && var.mediaNodeMemory <= var.mediaNodeOcpus * 64
    error_message = "mediaNodeMemory must be 1 to 64 GB for each of the mediaNodeOcpus: OCI refuses other Flex shapes."
  }
}

variable "mediaNodeDiskSize" {
  description = "Boot disk of each media node in GB."
  type        = number
  default     = 100

  validation {
    condition     = var.mediaNodeDiskSize >= 50 && var.mediaNodeDiskSize <= 32768 && floor(var.mediaNodeDiskSize) == var.mediaNodeDiskSize
    error_message = "mediaNodeDiskSize must be a whole number of GB from 50, what an OCI boot disk has at least, to 32768."
  }
}
