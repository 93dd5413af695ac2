#!/bin/sh
# What cloud-init does on a machine of the rehearsal: hands over to `sala oci install`, as deploy/oci's does once it has
# the binary. With REHEARSAL_PACE (lines for the section `oci:` of a master's sala.yaml) units begin with less patience,
# and the node reads its own processor's load (see meter.py) instead of the host's.
set -eu
here=$(dirname "$(readlink -f "$0")")
if [ -n "${REHEARSAL_PACE:-}" ]; then
    units="$SALA_ROOT/etc/systemd/system"
    mkdir -p "$units/sala.service.d" "$units/sala-drain-watch.service.d"
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/unshare --mount /bin/sh %s/node.sh %s\n' "$here" "$SALA_BIN" \
        >"$units/sala.service.d/rehearsal.conf"
    printf '[Service]\nExecStart=\nExecStart=%s oci drain-watch --config %s/etc/sala/sala.yaml --look-ms 500\nRestartSec=1\n' \
        "$SALA_BIN" "$SALA_ROOT" >"$units/sala-drain-watch.service.d/rehearsal.conf"
fi
exec "$SALA_BIN" oci install
