#!/bin/sh
# What a DHCP server says, as udhcpc tells it (busybox, "-s"): kept where the edge's agent looks, for nothing else is done with it here.
# $CENTRALINO_LEASES: a directory, with a file for each interface. "at": seconds since the machine started, so that no clock is trusted.
set -eu
umask 077
file="$CENTRALINO_LEASES/$interface.lease"
case "$1" in
  bound | renew)
    read -r at _ < /proc/uptime
    printf '%s=%s\n' at "$at" ip "${ip:-}" mask "${mask:-}" router "${router:-}" dns "${dns:-}" serverid "${serverid:-}" lease "${lease:-}" > "$file.new"
    mv -f "$file.new" "$file"
    ;;
  nak) rm -f "$file" ;;
  # "deconfig" comes at its start too. A lease that isn't renewed ends by its time.
esac
