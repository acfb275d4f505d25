"""Which model a name means, at which revision, and where its files lie."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from teacher.errors import UsageError
from teacher.llm.spec import DIGEST, Model

TINY = "tiny"
CHECKPOINT = Path(__file__).parents[1] / "tiny" / "checkpoint"  # of the model of that name
# vLLM's `auto` means bfloat16, which a CPU without units for it computes three times as slowly as float32.
TINY_DTYPE: Literal["float32"] = "float32"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
# Of the configuration, the tokenizer, the template and code of the model's; a README decides nothing.
DECIDING_SUFFIXES = (*WEIGHT_SUFFIXES, ".json", ".jinja", ".model", ".txt", ".tiktoken", ".py")
SAMPLES, SAMPLE_BYTES = 256, 1 << 16
CACHED = "models--"
HUB_SECONDS = 5.0


def identify(name: str, revision: str | None = None) -> Model:
    """Find out which model, at which revision, a name means.

    Args:
        name: `tiny`, a folder with a checkpoint, or the id of a Hugging Face model.
        revision: a branch, tag or commit of a Hugging Face model.

    Raises:
        UsageError: there is no such model.
    """
    if name == TINY:
        return Model(name=TINY, revision=_folder_digest(Path(local_path(TINY))), dtype=TINY_DTYPE)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UsageError(f"The folder {folder} holds no model: there is no config.json in it.")
        return _of_snapshot(folder) or Model(name=folder.resolve().name, revision=f"{DIGEST}{_folder_digest(folder)}")
    return Model(name=name, revision=_hub_commit(name, revision))


def local_path(name: str) -> str:
    """Return what vLLM loads: the absolute path of a folder, or a Hugging Face id."""
    if name == TINY:
        return str(CHECKPOINT)
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name


def weight_bytes(path: str) -> int:
    """Return the size of the weight files under a local folder; 0 where `path` is no folder."""
    return sum(file.stat().st_size for file in Path(path).glob("*") if file.suffix in WEIGHT_SUFFIXES)


def _hub_commit(name: str, revision: str | None) -> str:
    """Return the commit of a Hugging Face model: the one in the local cache, else the one that the hub has."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    advice = "use 'tiny', the folder of a checkpoint, or the id of a Hugging Face model"
    try:
        # The cache keeps a file under snapshots/<commit>/.
        return Path(hf_hub_download(name, "config.json", revision=revision, local_files_only=True)).parent.name
    except HFValidationError:
        raise UsageError(f"There is no model '{name}': {advice}.") from None
    except LocalEntryNotFoundError:
        pass
    try:
        return str(HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS).sha)
    except RepositoryNotFoundError:
        raise UsageError(f"The Hugging Face hub has no model '{name}' (or keeps it private): {advice}.") from None
    # Its bases are OSError and the error of whichever HTTP library the hub's client uses: what a network raises.
    except HfHubHTTPError.__bases__ as error:  # type: ignore[misc]
        raise UsageError(
            f"The model '{name}' is not on this machine and the Hugging Face hub cannot be asked "
            f"({' '.join(str(error).split())}): {advice}."
        ) from None


def _of_snapshot(folder: Path) -> Model | None:
    """Return the model whose snapshot a folder of the Hugging Face cache is: models--ORG--NAME/snapshots/COMMIT."""
    parts = folder.absolute().parts
    if len(parts) < 3 or parts[-2] != "snapshots" or not parts[-3].startswith(CACHED):
        return None
    return Model(name=parts[-3].removeprefix(CACHED).replace("--", "/"), revision=parts[-1])


def _folder_digest(folder: Path) -> str:
    """Digest what decides a checkpoint's answers: small files whole, of weights the size and samples from end to end.

    Reading hundreds of gigabytes of weights at each start would take minutes. Training changes a layer all over, and
    in a file of 5 GB the samples lie closer together than a layer of a large model is long.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.suffix in DECIDING_SUFFIXES and path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            if file.suffix not in WEIGHT_SUFFIXES or size <= SAMPLES * SAMPLE_BYTES:
                digest.update(stream.read())
                continue
            for number in range(SAMPLES):
                stream.seek(number * (size - SAMPLE_BYTES) // (SAMPLES - 1))
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]
