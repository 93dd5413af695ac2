#!/bin/sh
# Starts a node in a rehearsal with scaled time; see cloud_init.sh. Runs in a mount namespace of its own.
set -eu
umask 077
config="$SALA_ROOT/etc/sala"
sed "s/^  scaling: true\$/&$REHEARSAL_PACE/" "$config/sala.yaml" >"$config/rehearsal.yaml"
stat="$(dirname "$SALA_ROOT")/proc-stat"
if [ ! -s "$stat" ]; then
    echo "cpu  000000000000000 0 0 000000000000000 0 0 0 0 0 0" >"$stat"
fi
mount --bind "$stat" /proc/stat
exec "$1" serve --config "$config/rehearsal.yaml"
