# Every right that the machines and the function have, and why. Nothing has a right that it does not use: taking one
# away breaks what its comment names. Permissions are named one by one, because a verb such as "manage" brings more.

locals {
  here       = "in compartment id ${var.compartment_ocid}"
  at_vault   = "in compartment id ${local.vault_compartment_id}"
  lock_in    = "target.bucket.name = '${local.bucket_cluster_data}'"
  this_vault = "target.vault.id = '${local.vault_id}'"

  machine_statements = {
    # Boot, without domainName: the domain is derived from the balancer's public address.
    masters-balancer = "allow dynamic-group ${local.masters_group} to {NETWORK_LOAD_BALANCER_READ} ${local.here}"

    # Boot: boot.lock decides which master makes the key and the secrets. Not the bucket's other objects: the SSH key is one.
    masters-boot-lock = "allow dynamic-group ${local.masters_group} to {OBJECT_READ, OBJECT_CREATE, OBJECT_OVERWRITE} ${local.here} where all {${local.lock_in}, target.object.name = 'boot.lock'}"

    # Boot: the first master makes the secrets, restores those pending deletion, and deletes old versions before there are 30.
    masters-secrets = "allow dynamic-group ${local.masters_group} to {SECRET_INSPECT, SECRET_READ, SECRET_CREATE, SECRET_UPDATE, SECRET_DELETE, SECRET_VERSION_INSPECT, SECRET_VERSION_DELETE} ${local.here}"

    # Boot and restart: a master reads the secrets' values.
    masters-secret-values = "allow dynamic-group ${local.masters_group} to {SECRET_BUNDLE_READ} ${local.here}"

    # Boot and restart: a media node reads the secrets that let it join.
    media-secret-values = "allow dynamic-group ${local.media_group} to {SECRET_BUNDLE_READ} ${local.here}"

    # Boot: a media node learns the public address that clients send media to.
    media-address = "allow dynamic-group ${local.media_group} to {VNIC_READ} ${local.here}"

    # The drain watcher: a media node asks whether it is still in the pool, also when somebody detached it by hand.
    media-see-pool = "allow dynamic-group ${local.media_group} to {INSTANCE_POOL_INSPECT, INSTANCE_POOL_READ} ${local.here}"

    # The metrics: a master posts rooms, participants and load, for the operator to see. Only in our own namespace.
    masters-post-metrics = "allow dynamic-group ${local.masters_group} to {METRIC_WRITE} ${local.here} where target.metrics.namespace = 'sala'"
  }

  vault_statements = {
    # Boot: a master asks the Vault for its key endpoint, and makes the key and the secrets in it.
    masters-vault = "allow dynamic-group ${local.masters_group} to {VAULT_READ, VAULT_CREATE_KEY, VAULT_CREATE_SECRET} ${local.at_vault} where ${local.this_vault}"

    # Boot: a master finds the key by its name or makes it, and a secret is encrypted with it.
    masters-key = "allow dynamic-group ${local.masters_group} to {KEY_INSPECT, KEY_CREATE, KEY_ENCRYPT, KEY_DECRYPT} ${local.at_vault}"
  }

  scaling_statements = local.elastic ? {
    # Scale-in: scalein.lock decides which master calls the function in this cycle.
    masters-scale-in-lock = "allow dynamic-group ${local.masters_group} to {OBJECT_READ, OBJECT_CREATE, OBJECT_OVERWRITE} ${local.here} where all {${local.lock_in}, target.object.name = 'scalein.lock'}"

    # Scale-in: the function is found by its name.
    masters-find-function = "allow dynamic-group ${local.masters_group} to {FN_APP_LIST, FN_FUNCTION_LIST} ${local.here}"

    # Scale-in and the sweep of orphans: only this function is called.
    masters-call-function = "allow dynamic-group ${local.masters_group} to {FN_INVOCATION} ${local.here} where target.function.id = '${oci_functions_function.scale_in[0].id}'"

    # Scale-out and the sweep: the pool is found by its name, and its members are told from what was taken out of it.
    masters-see-pool = "allow dynamic-group ${local.masters_group} to {INSTANCE_POOL_INSPECT, INSTANCE_POOL_READ} ${local.here}"

    # Scale-out: scaleout.lock decides which master looks after the need.
    masters-scale-out-lock = "allow dynamic-group ${local.masters_group} to {OBJECT_READ, OBJECT_CREATE, OBJECT_OVERWRITE} ${local.here} where all {${local.lock_in}, target.object.name = 'scaleout.lock'}"

    # Scale-out: a master raises the pool's size within half a minute of need.
    masters-grow-pool = "allow dynamic-group ${local.masters_group} to {INSTANCE_POOL_UPDATE} ${local.here}"

    # The sweep: media nodes outside the pool are found by their tags.
    masters-see-instances = "allow dynamic-group ${local.masters_group} to {INSTANCE_READ} ${local.here}"

    # The end of a drain: a media node finds the function.
    media-find-function = "allow dynamic-group ${local.media_group} to {FN_APP_LIST, FN_FUNCTION_LIST} ${local.here}"

    # The end of a drain: a media node asks the function to end it. It cannot end anything itself.
    media-call-function = "allow dynamic-group ${local.media_group} to {FN_INVOCATION} ${local.here} where target.function.id = '${oci_functions_function.scale_in[0].id}'"

    # The decision: mean CPU of each media node. Nothing but the agent's own metrics.
    function-metrics = "allow dynamic-group ${local.function_group} to {METRIC_INSPECT, METRIC_READ} ${local.here} where target.metrics.namespace = 'oci_computeagent'"

    # The decision: who is in the pool, and taking one out of it.
    function-pool = "allow dynamic-group ${local.function_group} to {INSTANCE_POOL_INSPECT, INSTANCE_POOL_READ, INSTANCE_POOL_INSTANCE_DETACH} ${local.here}"

    # The decision, termination and sweep: an instance's tags and state are read, and sala-draining is written.
    function-instances = "allow dynamic-group ${local.function_group} to {INSTANCE_READ, INSTANCE_UPDATE} ${local.here}"

    # Termination and sweep: an instance ends with its network interface and boot disk.
    function-terminate = "allow dynamic-group ${local.function_group} to {INSTANCE_DELETE, VNIC_DELETE, SUBNET_DETACH, VOLUME_ATTACHMENT_DELETE, VOLUME_WRITE, INSTANCE_DETACH_VOLUME, VOLUME_DELETE} ${local.here}"
  } : {}

  # A deployment that was elastic before may have nodes that drain. Their function is gone, so the masters end them.
  leftover_statements = local.elastic ? {} : {
    # The sweep of what scale-in left: the pool is found by its name, and its members are told from what was taken out.
    masters-see-pool-when-fixed = "allow dynamic-group ${local.masters_group} to {INSTANCE_POOL_INSPECT, INSTANCE_POOL_READ} ${local.here}"

    # The sweep of what scale-in left: media nodes outside the pool are found by their tags.
    masters-see-instances-when-fixed = "allow dynamic-group ${local.masters_group} to {INSTANCE_READ} ${local.here}"

    # The sweep of what scale-in left: a node with the mark of its removal ends, with network interface and boot disk.
    masters-end-leftovers = "allow dynamic-group ${local.masters_group} to {INSTANCE_DELETE, VNIC_DELETE, SUBNET_DETACH, VOLUME_ATTACHMENT_DELETE, VOLUME_WRITE, INSTANCE_DETACH_VOLUME, VOLUME_DELETE} ${local.here}"
  }
}
