# The only public entry: a network load balancer before the four masters. It says by PROXY protocol who the client is.

locals {
  public_ports = { http = 80, https = 443, rtmp = 1935 }

  backends = {
    for pair in setproduct(keys(local.public_ports), keys(local.master_private_ips)) :
    "${pair[0]}-${pair[1]}" => { set = pair[0], port = local.public_ports[pair[0]], address = local.master_private_ips[pair[1]] }
  }

  public_ip_id = var.publicIpAddress == "" ? oci_core_public_ip.balancer[0].id : var.publicIpAddress
  public_ip    = var.publicIpAddress == "" ? oci_core_public_ip.balancer[0].ip_address : data.oci_core_public_ip.given[0].ip_address
}

# Reserved, so that the address outlives a balancer that must be made anew.
resource "oci_core_public_ip" "balancer" {
  count = var.publicIpAddress == "" ? 1 : 0

  compartment_id = var.compartment_ocid
  lifetime       = "RESERVED"
  display_name   = "${var.stackName}-ip"
  freeform_tags  = local.tags

  lifecycle {
    # The balancer attaches it.
    ignore_changes = [private_ip_id]
  }
}

data "oci_core_public_ip" "given" {
  count = var.publicIpAddress == "" ? 0 : 1

  id = var.publicIpAddress
}

resource "oci_network_load_balancer_network_load_balancer" "stack" {
  compartment_id                 = var.compartment_ocid
  display_name                   = "${var.stackName}-nlb"
  subnet_id                      = oci_core_subnet.balancer.id
  is_private                     = false
  is_preserve_source_destination = false
  network_security_group_ids     = [oci_core_network_security_group.balancer.id]
  freeform_tags                  = local.tags

  reserved_ips {
    id = local.public_ip_id
  }
}

resource "oci_network_load_balancer_backend_set" "masters" {
  for_each = local.public_ports

  name                        = "master-backend-set-${each.key}"
  network_load_balancer_id    = oci_network_load_balancer_network_load_balancer.stack.id
  policy                      = "FIVE_TUPLE"
  is_preserve_source          = false
  is_instant_failover_enabled = true

  # 7880 answers whether the master can work, not only whether it lives. Noticed within two to three seconds.
  health_checker {
    protocol           = "HTTP"
    port               = 7880
    url_path           = "/healthz"
    return_code        = 200
    interval_in_millis = 1000
    timeout_in_millis  = 1000
    retries            = 2
  }
}

resource "oci_network_load_balancer_backend" "masters" {
  for_each = local.backends

  network_load_balancer_id = oci_network_load_balancer_network_load_balancer.stack.id
  backend_set_name         = oci_network_load_balancer_backend_set.masters[each.value.set].name
  name                     = "${each.value.address}:${each.value.port}"
  ip_address               = each.value.address
  port                     = each.value.port

  # The balancer refuses an address that nobody has.
  depends_on = [oci_core_instance.master]
}

resource "oci_network_load_balancer_listener" "public" {
  for_each = local.public_ports

  name                     = "listener-${each.key}"
  network_load_balancer_id = oci_network_load_balancer_network_load_balancer.stack.id
  default_backend_set_name = oci_network_load_balancer_backend_set.masters[each.key].name
  port                     = each.value
  protocol                 = "TCP"
  is_ppv2enabled           = true
}
