"""Which model a name means, at which revision, and where its files lie."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from teacher.errors import UsageError
from teacher.spec import Model
from teacher.tiny import CHECKPOINT

TINY = "tiny"
# vLLM's `auto` means bfloat16, which a CPU without units for it computes three times as slowly as float32.
TINY_DTYPE: Literal["float32"] = "float32"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
SAMPLED_BYTES = 1 << 20
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
        return Model(name=str(folder.absolute()), revision=_folder_digest(folder))
    return Model(name=name, revision=_hub_commit(name, revision))


def local_path(name: str) -> str:
    """Return what vLLM loads on this machine: the folder of `tiny`, or the name itself."""
    return str(CHECKPOINT) if name == TINY else name


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


def _folder_digest(folder: Path) -> str:
    """Digest a checkpoint folder: small files whole; of weights the size, the first and the last mebibyte.

    Reading hundreds of gigabytes of weights at each start would take minutes; two checkpoints of one training run
    differ in their first mebibyte all the same.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(SAMPLED_BYTES))
            if size > SAMPLED_BYTES:
                if file.suffix in WEIGHT_SUFFIXES:
                    stream.seek(max(SAMPLED_BYTES, size - SAMPLED_BYTES))
                digest.update(stream.read())
    return digest.hexdigest()[:16]
