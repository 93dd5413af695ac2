# How people reach the deployment: names, certificates, addresses, SSH.

variable "certificateType" {
  description = "selfsigned: for tests, browsers warn, no domain name needed. owncert: your own certificate, domain name needed. letsencrypt: with a domain name or without; without one a name is derived from the balancer's address."
  type        = string
  default     = "letsencrypt"

  validation {
    condition     = contains(["selfsigned", "owncert", "letsencrypt"], var.certificateType)
    error_message = "certificateType must be selfsigned, owncert or letsencrypt."
  }

  validation {
    condition     = var.certificateType != "owncert" || (var.domainName != "" && var.ownPublicCertificate != "" && var.ownPrivateCertificate != "")
    error_message = "certificateType owncert needs domainName, ownPublicCertificate and ownPrivateCertificate."
  }
}

variable "publicIpAddress" {
  description = "OCID of a reserved public IP for the balancer. Blank reserves one, which destroy gives back."
  type        = string
  default     = ""

  validation {
    condition     = var.publicIpAddress == "" || can(regex("^ocid1\\.publicip\\.[a-z0-9]+\\.", var.publicIpAddress))
    error_message = "publicIpAddress must be the OCID of a reserved public IP, not the address: it begins with ocid1.publicip (console: Networking, Reserved public IPs)."
  }
}

variable "domainName" {
  description = "Domain name that points to the balancer's address. Blank: an sslip.io name derived from that address."
  type        = string
  default     = ""

  validation {
    condition     = var.domainName == "" || (length(var.domainName) <= 253 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$", var.domainName)))
    error_message = "domainName must be a domain name in lower case, for example meet.example.com."
  }
}

variable "ownPublicCertificate" {
  description = "For owncert: the certificate and its chain in PEM, encoded in base64 (base64 -w0 fullchain.pem)."
  type        = string
  default     = ""

  validation {
    condition     = var.ownPublicCertificate == "" || can(regex("-----BEGIN CERTIFICATE-----", base64decode(var.ownPublicCertificate)))
    error_message = "ownPublicCertificate must be the base64 of a PEM certificate: base64 -w0 fullchain.pem prints it."
  }
}

variable "ownPrivateCertificate" {
  description = "For owncert: the certificate's private key in PEM, encoded in base64 (base64 -w0 privkey.pem)."
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = var.ownPrivateCertificate == "" || can(regex("-----BEGIN [A-Z ]*PRIVATE KEY-----", base64decode(var.ownPrivateCertificate)))
    error_message = "ownPrivateCertificate must be the base64 of a PEM private key: base64 -w0 privkey.pem prints it."
  }
}

variable "acmeDirectoryUrl" {
  description = "Directory of another ACME authority than Let's Encrypt's, for letsencrypt. Blank: Let's Encrypt. --acme-directory in additionalInstallFlags comes before it."
  type        = string
  default     = ""

  validation {
    condition     = var.acmeDirectoryUrl == "" || can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$", var.acmeDirectoryUrl))
    error_message = "acmeDirectoryUrl must be an https URL, for example https://acme-staging-v02.api.letsencrypt.org/directory."
  }
}

variable "sshAllowedCidrs" {
  description = "From where SSH reaches the machines, for example [\"203.0.113.7/32\"]. Empty: from nowhere. It may be changed at any time."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.sshAllowedCidrs : can(cidrnetmask(cidr))])
    error_message = "sshAllowedCidrs must hold IPv4 blocks, for example 203.0.113.7/32."
  }
}

variable "sshKeyInBucket" {
  description = "Keeps the private SSH key in the cluster-data bucket. Set it to false once you have downloaded it: otherwise the next apply puts back the object that you deleted."
  type        = bool
  default     = true
}
