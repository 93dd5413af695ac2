# Every port that is open, and to whom. The subnets' security list allows nothing, so this table is all there is.

locals {
  tcp = "6"
  udp = "17"

  # name = from whom, to which group, protocol, ports, what for
  ingress = {
    balancer-http  = { group = "balancer", from = local.anywhere, protocol = local.tcp, first = 80, last = 80, what = "HTTP: ACME challenges, redirect to HTTPS" }
    balancer-https = { group = "balancer", from = local.anywhere, protocol = local.tcp, first = 443, last = 443, what = "HTTPS and WSS" }
    balancer-rtmp  = { group = "balancer", from = local.anywhere, protocol = local.tcp, first = 1935, last = 1935, what = "RTMP" }

    master-http     = { group = "master", from = "balancer", protocol = local.tcp, first = 80, last = 80, what = "HTTP from the balancer" }
    master-https    = { group = "master", from = "balancer", protocol = local.tcp, first = 443, last = 443, what = "HTTPS from the balancer" }
    master-rtmp     = { group = "master", from = "balancer", protocol = local.tcp, first = 1935, last = 1935, what = "RTMP from the balancer" }
    master-health   = { group = "master", from = "balancer", protocol = local.tcp, first = 7880, last = 7880, what = "The balancer's health check" }
    master-master   = { group = "master", from = "master", protocol = local.tcp, first = 7900, last = 7900, what = "Cluster, between masters" }
    master-etcd     = { group = "master", from = "master", protocol = local.tcp, first = 2379, last = 2380, what = "Cluster store, between masters" }
    master-media    = { group = "master", from = "media", protocol = local.tcp, first = 7900, last = 7900, what = "Cluster, from media nodes" }
    master-media-db = { group = "master", from = "media", protocol = local.tcp, first = 2379, last = 2379, what = "Cluster store, from media nodes" }

    media-udp      = { group = "media", from = local.anywhere, protocol = local.udp, first = 50000, last = 60000, what = "Media over UDP" }
    media-tcp      = { group = "media", from = local.anywhere, protocol = local.tcp, first = 50000, last = 60000, what = "Media over TCP" }
    media-turn-udp = { group = "media", from = local.anywhere, protocol = local.udp, first = 443, last = 443, what = "STUN and TURN" }
    media-ice-tcp  = { group = "media", from = local.anywhere, protocol = local.tcp, first = 7881, last = 7881, what = "ICE over TCP" }
    media-whip-udp = { group = "media", from = local.anywhere, protocol = local.udp, first = 7885, last = 7885, what = "WHIP media" }
    media-turn-tls = { group = "media", from = "master", protocol = local.tcp, first = 5349, last = 5349, what = "TURN over TLS, from masters" }
    media-api      = { group = "media", from = "master", protocol = local.tcp, first = 7880, last = 7880, what = "API, from masters" }
    media-whip     = { group = "media", from = "master", protocol = local.tcp, first = 8080, last = 8080, what = "WHIP over HTTP, from masters" }
    media-rtmp     = { group = "media", from = "master", protocol = local.tcp, first = 1935, last = 1935, what = "RTMP, from masters" }
    media-master   = { group = "media", from = "master", protocol = local.tcp, first = 7900, last = 7900, what = "Cluster, from masters" }
    media-media    = { group = "media", from = "media", protocol = local.tcp, first = 7900, last = 7900, what = "Cluster, rooms that move between media nodes" }
  }

  # SSH only from where the operator says.
  ssh_ingress = merge([
    for group in ["master", "media"] : {
      for cidr in var.sshAllowedCidrs :
      "${group}-ssh-${cidr}" => { group = group, from = cidr, protocol = local.tcp, first = 22, last = 22, what = "SSH" }
    }
  ]...)

  # Machines fetch packages and talk to Oracle's services and to clients; the balancer talks to masters only.
  egress = {
    balancer-http   = { group = "balancer", to = "master", first = 80, last = 80 }
    balancer-https  = { group = "balancer", to = "master", first = 443, last = 443 }
    balancer-rtmp   = { group = "balancer", to = "master", first = 1935, last = 1935 }
    balancer-health = { group = "balancer", to = "master", first = 7880, last = 7880 }
  }

  groups = {
    balancer = oci_core_network_security_group.balancer.id
    master   = oci_core_network_security_group.master.id
    media    = oci_core_network_security_group.media.id
  }
}

resource "oci_core_network_security_group" "balancer" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-nlb-nsg"
  freeform_tags  = local.tags
}

resource "oci_core_network_security_group" "master" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-master-nsg"
  freeform_tags  = local.tags
}

resource "oci_core_network_security_group" "media" {
  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-media-nsg"
  freeform_tags  = local.tags
}

resource "oci_core_network_security_group_security_rule" "ingress" {
  for_each = merge(local.ingress, local.ssh_ingress)

  network_security_group_id = local.groups[each.value.group]
  direction                 = "INGRESS"
  protocol                  = each.value.protocol
  source                    = lookup(local.groups, each.value.from, each.value.from)
  source_type               = contains(keys(local.groups), each.value.from) ? "NETWORK_SECURITY_GROUP" : "CIDR_BLOCK"
  description               = each.value.what

  dynamic "tcp_options" {
    for_each = each.value.protocol == local.tcp ? [each.value] : []

    content {
      destination_port_range {
        min = tcp_options.value.first
        max = tcp_options.value.last
      }
    }
  }

  dynamic "udp_options" {
    for_each = each.value.protocol == local.udp ? [each.value] : []

    content {
      destination_port_range {
        min = udp_options.value.first
        max = udp_options.value.last
      }
    }
  }
}

resource "oci_core_network_security_group_security_rule" "balancer_egress" {
  for_each = local.egress

  network_security_group_id = local.groups[each.value.group]
  direction                 = "EGRESS"
  protocol                  = local.tcp
  destination               = local.groups[each.value.to]
  destination_type          = "NETWORK_SECURITY_GROUP"
  description               = "To the masters"

  tcp_options {
    destination_port_range {
      min = each.value.first
      max = each.value.last
    }
  }
}

resource "oci_core_network_security_group_security_rule" "machine_egress" {
  for_each = toset(["master", "media"])

  network_security_group_id = local.groups[each.key]
  direction                 = "EGRESS"
  protocol                  = "all"
  destination               = local.anywhere
  destination_type          = "CIDR_BLOCK"
  description               = "Packages, Oracle's services, clients"
}

resource "oci_core_network_security_group" "functions" {
  count = local.elastic ? 1 : 0

  compartment_id = var.compartment_ocid
  vcn_id         = oci_core_vcn.stack.id
  display_name   = "${var.stackName}-functions-nsg"
  freeform_tags  = local.tags
}

resource "oci_core_network_security_group_security_rule" "functions_egress" {
  count = local.elastic ? 1 : 0

  network_security_group_id = oci_core_network_security_group.functions[0].id
  direction                 = "EGRESS"
  protocol                  = local.tcp
  destination               = data.oci_core_services.oracle[0].services[0].cidr_block
  destination_type          = "SERVICE_CIDR_BLOCK"
  description               = "Oracle's services"

  tcp_options {
    destination_port_range {
      min = 443
      max = 443
    }
  }
}
