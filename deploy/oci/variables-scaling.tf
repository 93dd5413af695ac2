# How many media nodes there are, and what changes their number.

variable "fixedNumberOfMediaNodes" {
  description = "More than 0: exactly that many media nodes, without autoscaling and without the scale-in function; the next four variables and scale_in_function_image are ignored. 0: elastic."
  type        = number
  default     = 0

  validation {
    condition     = var.fixedNumberOfMediaNodes >= 0 && var.fixedNumberOfMediaNodes <= 200 && floor(var.fixedNumberOfMediaNodes) == var.fixedNumberOfMediaNodes
    error_message = "fixedNumberOfMediaNodes must be a whole number from 0 (elastic) to 200."
  }
}

variable "initialNumberOfMediaNodes" {
  description = "Media nodes at the first apply. Ignored when fixedNumberOfMediaNodes is more than 0, and once the deployment runs."
  type        = number
  default     = 1

  validation {
    condition     = floor(var.initialNumberOfMediaNodes) == var.initialNumberOfMediaNodes && (var.fixedNumberOfMediaNodes > 0 || (var.initialNumberOfMediaNodes >= var.minNumberOfMediaNodes && var.initialNumberOfMediaNodes <= var.maxNumberOfMediaNodes))
    error_message = "initialNumberOfMediaNodes must be a whole number from minNumberOfMediaNodes to maxNumberOfMediaNodes."
  }
}

variable "minNumberOfMediaNodes" {
  description = "Scale-in never leaves fewer media nodes. Ignored when fixedNumberOfMediaNodes is more than 0."
  type        = number
  default     = 1

  validation {
    condition     = var.minNumberOfMediaNodes >= 1 && floor(var.minNumberOfMediaNodes) == var.minNumberOfMediaNodes
    error_message = "minNumberOfMediaNodes must be a whole number from 1: without a media node nobody can meet."
  }
}

variable "maxNumberOfMediaNodes" {
  description = "Scale-out never makes more media nodes. Ignored when fixedNumberOfMediaNodes is more than 0."
  type        = number
  default     = 5

  validation {
    condition     = var.maxNumberOfMediaNodes <= 200 && floor(var.maxNumberOfMediaNodes) == var.maxNumberOfMediaNodes
    error_message = "maxNumberOfMediaNodes must be a whole number up to 200: more do not fit into their subnet."
  }

  validation {
    condition     = var.fixedNumberOfMediaNodes > 0 || var.maxNumberOfMediaNodes >= var.minNumberOfMediaNodes
    error_message = "maxNumberOfMediaNodes must not be less than minNumberOfMediaNodes."
  }
}

variable "scaleTargetCPU" {
  description = "Percent of CPU, averaged over the media nodes: above it they become more, below it fewer. Ignored when fixedNumberOfMediaNodes is more than 0."
  type        = number
  default     = 50

  validation {
    condition     = var.scaleTargetCPU >= 1 && var.scaleTargetCPU <= 99 && floor(var.scaleTargetCPU) == var.scaleTargetCPU
    error_message = "scaleTargetCPU must be a whole number of percent from 1 to 99."
  }
}

variable "scaleOutByMasters" {
  description = "Besides the pool's own rule, which looks at minutes of CPU, the masters may raise the number of media nodes within half a minute of need, never above maxNumberOfMediaNodes."
  type        = bool
  default     = true
}

variable "scale_in_function_image" {
  description = "Image of the scale-in function in OCI's registry, in the region of the deployment: <region-key>.ocir.io/<tenancy-namespace>/<repository>:<tag>. Blank: <region-key>.ocir.io/<your tenancy's namespace>/sala-scalein:<salaVersion>, where docs/deploy/oracle-ha.md has you push it. Ignored when fixedNumberOfMediaNodes is more than 0."
  type        = string
  default     = ""

  validation {
    condition     = var.scale_in_function_image == "" || can(regex("^[a-z]{3}\\.ocir\\.io/[A-Za-z0-9_-]+/[a-z0-9][a-z0-9._/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$", var.scale_in_function_image))
    error_message = "scale_in_function_image must be written <region-key>.ocir.io/<tenancy-namespace>/<repository>:<tag>, for example fra.ocir.io/mytenancy/sala-scalein:0.1.0."
  }
}
