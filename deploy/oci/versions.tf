# Terraform and the providers this module was checked with (check/ says how).

terraform {
  # 1.9 is the first in which one variable's validation may look at another variable.
  required_version = ">= 1.9.0"

  required_providers {
    oci = {
      source  = "oracle/oci"
      version = "~> 7.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.5"
    }
    tls = {
      source  = "hashicorp/tls"
      version = "~> 4.0"
    }
  }
}

provider "oci" {
  region = var.region
}

# Oracle takes changes of dynamic groups, policies and user keys only in the tenancy's home region.
provider "oci" {
  alias  = "home"
  region = local.home_region
}
