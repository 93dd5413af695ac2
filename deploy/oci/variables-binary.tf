# Where the machines get `sala` from. The defaults take a release; salaBinaryFile takes what you have built.

variable "salaVersion" {
  description = "Release that the machines install, and tag of the function's image unless scale_in_function_image says otherwise."
  type        = string
  default     = "0.1.0"

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$", var.salaVersion))
    error_message = "salaVersion must be a version such as 0.1.0."
  }
}

variable "salaBinaryUrl" {
  description = "From where the machines fetch the binary, for example your own mirror or a pre-authenticated request; {version} and {arch} (x86_64 or aarch64) are filled in. Ignored when salaBinaryFile is set."
  type        = string
  default     = "https://github.com/sala-video/sala/releases/download/v{version}/sala-linux-{arch}"

  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~%/{}+=-]+$", var.salaBinaryUrl))
    error_message = "salaBinaryUrl must be an https URL without spaces, quotes or a query."
  }
}

variable "salaBinaryFile" {
  description = "Path of a binary on this machine; {arch} (x86_64 or aarch64) is filled in. It is uploaded to the cluster-data bucket, and the machines fetch it from there. Blank: salaBinaryUrl."
  type        = string
  default     = ""
}

variable "salaBinarySha256" {
  description = "SHA-256 of the binary by architecture: { x86_64 = \"…\", aarch64 = \"…\" }. What is missing is read from <URL>.sha256; with salaBinaryFile it is computed."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for arch, sum in var.salaBinarySha256 : contains(["x86_64", "aarch64"], arch) && can(regex("^[0-9a-f]{64}$", sum))])
    error_message = "salaBinarySha256 must map x86_64 or aarch64 to 64 hexadecimal digits in lower case, as sha256sum prints them."
  }
}
