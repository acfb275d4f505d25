"""Models on the Hugging Face Hub: `hf://OWNER/NAME`, or `hf://OWNER/NAME@REVISION`, in the place of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.models.model_store import FILES, OUTPUTS
from teacher.errors import UsageError

PLACE = re.compile(r"hf:/{1,2}(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")  # a Path has one slash only
TRAVELLING = tuple(name for name in FILES if name != OUTPUTS)  # what a teacher says of its dataset stays


def is_on_hub(place: Path) -> bool:
    """Tell whether a place is on the Hub."""
    return str(place).startswith("hf:/")


def local_model(place: Path) -> Path:
    """Return where a model lies on this machine; from the Hub it is fetched, the first time.

    Raises:
        UsageError: the Hub has no such model, it cannot be reached, or the user may not read it.
    """
    if not is_on_hub(place):
        return place
    from huggingface_hub import snapshot_download

    repository, revision = _named(place)
    with _told(place):
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(TRAVELLING)))


def push_model(folder: Path, place: Path) -> None:
    """Send a model's folder to the Hub, as a new commit of a repository that is private if it is new.

    Raises:
        UsageError: the Hub cannot be reached, or the user may not write there.
    """
    from huggingface_hub import HfApi

    repository, revision = _named(place)
    with _told(place):
        hub = HfApi()
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(TRAVELLING),
            revision=revision,
            commit_message="A model of gallon's",
        )


def _named(place: Path) -> tuple[str, str | None]:
    found = PLACE.fullmatch(str(place))
    if not found:
        raise UsageError(f"{place} names no model on the Hub: write hf://OWNER/NAME, or hf://OWNER/NAME@REVISION.")
    return found["repository"], found["revision"]


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Turn what the Hub's library raises into one sentence."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0].rstrip(".")
        raise UsageError(
            f"The Hub does not serve {str(place).replace('hf:/', 'hf://', 1)} ({reason}): check its name, the network, "
            "and that you are logged in (hf auth login)."
        ) from None
