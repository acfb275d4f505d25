"""Which model a name means, at which revision, and where its files lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from teacher.errors import UsageError
from teacher.file_digest import WEIGHT_SUFFIXES, digest_of
from teacher.llm.spec import DIGEST, Model

TINY = "tiny"
CHECKPOINT = Path(__file__).parents[1] / "tiny" / "checkpoint"  # of the model of that name
# vLLM's `auto` means bfloat16, which a CPU without units for it computes three times as slowly as float32.
TINY_DTYPE: Literal["float32"] = "float32"
# Of the configuration, the tokenizer, the template and code of the model's; a README decides nothing.
DECIDING_SUFFIXES = (*WEIGHT_SUFFIXES, ".json", ".jinja", ".model", ".txt", ".tiktoken", ".py")
CONFIGS = ("config.json", "params.json")  # of Hugging Face's format, and of Mistral's
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
        if not any((folder / config).is_file() for config in CONFIGS):
            raise UsageError(f"The folder {folder} holds no model: there is no config.json in it, nor a params.json.")
        return _of_snapshot(folder) or Model(name=folder.resolve().name, revision=f"{DIGEST}{_folder_digest(folder)}")
    return Model(name=name, revision=_hub_commit(name, revision))


def local_path(name: str) -> str:
    """Return what vLLM loads: the absolute path of a folder, or a Hugging Face id."""
    if name == TINY:
        return str(CHECKPOINT)
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name


def read_config(name: str, revision: str) -> dict[str, Any]:
    """Return the configuration of a model, as far as it can be read: of one in Mistral's format it is `params.json`.

    Args:
        name: as for `identify`.
        revision: as `identify` found it.
    """
    for config in CONFIGS:
        path = _config_file(name, revision, config)
        try:
            facts = json.loads(path.read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict):
            return facts
    return {}


def _config_file(name: str, revision: str, config: str) -> Path | None:
    """Return where a file of a model lies, once it is there; None where the model has no such file."""
    if Path(folder := local_path(name)).is_dir():
        return Path(folder, config)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, config, revision=revision))
    except (OSError, ValueError):  # the hub's errors are both or one of them
        return None


def in_mistral_format(path: str) -> bool:
    """Tell whether a folder holds a model in Mistral's format only; vLLM detects both formats by itself."""
    folder = Path(path)
    return (folder / "params.json").is_file() and not (folder / "config.json").is_file()


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
    for config in CONFIGS:
        try:
            # The cache keeps a file under snapshots/<commit>/.
            return Path(hf_hub_download(name, config, revision=revision, local_files_only=True)).parent.name
        except HFValidationError:
            raise UsageError(f"There is no model '{name}': {advice}.") from None
        except LocalEntryNotFoundError:
            continue
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
    """Digest what decides a checkpoint's answers."""
    files = [file for file in folder.iterdir() if file.suffix in DECIDING_SUFFIXES]
    if in_mistral_format(str(folder)):
        files += folder.glob("tokenizer.model.v*")  # Mistral's, of before tekken.json
    return digest_of(file for file in files if file.is_file())
