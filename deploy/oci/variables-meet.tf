# What the first start gives OpenVidu Meet's page, and what the installer is told.

variable "initialMeetAdminPassword" {
  description = "Password of the page's user admin at the first start. Blank: a random one. Later changes have no effect."
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,128}$", var.initialMeetAdminPassword))
    error_message = "initialMeetAdminPassword must consist of at most 128 letters, digits, underscores and hyphens; blank makes a random one."
  }
}

variable "initialMeetApiKey" {
  description = "API key of the page at the first start. Blank: none. Later changes have no effect."
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,128}$", var.initialMeetApiKey))
    error_message = "initialMeetApiKey must consist of at most 128 letters, digits, underscores and hyphens; blank sets none."
  }
}

variable "rtcEngine" {
  description = "pion, the default engine's profile, or mediasoup, the alternative's."
  type        = string
  default     = "pion"

  validation {
    condition     = contains(["pion", "mediasoup"], var.rtcEngine)
    error_message = "rtcEngine must be pion or mediasoup."
  }
}

variable "additionalInstallFlags" {
  description = "Extra flags for the installer, with commas between them: --flag1=value, --flag2. docs/deploy/oracle-ha.md lists them."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9, =_./:@-]*$", var.additionalInstallFlags))
    error_message = "additionalInstallFlags must be flags with commas between them, for example --flag1=value, --flag2; allowed are letters, digits, spaces and , = _ . / : @ -."
  }
}
