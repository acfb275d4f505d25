#!/usr/bin/env bash
# Install what some tests want besides Python packages, from Debian's or Ubuntu's: a Redis with TLS, Slurm, Prometheus'
# promtool, a browser. Without one of them its tests are skipped, with the reason. Services that come along are not
# started.
#
#   tests/tools.sh [PACKAGE...]     default: all
set -euo pipefail

[ $# -gt 0 ] || set -- chromium openssl prometheus redis-server slurm-wlm util-linux

policy=/usr/sbin/policy-rc.d
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

if [ ! -e "$policy" ]; then
  trap 'as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null
  as_root chmod +x "$policy"
fi
as_root apt-get update --quiet --quiet
as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends "$@"
