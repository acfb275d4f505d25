"""What a fit leaves in the folder of results: how far it is, then its outcome, or why it came to nothing."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.runtime.errors import first_line
from cluster.training.fit import Outcome
from teacher.errors import GallonError
from teacher.wording import counted


class TrainingError(GallonError):
    """Training did not come to its end."""


def gave_up(times: int, cause: BaseException, folder: Path) -> TrainingError:
    """Return what there is to say when workers have failed so many times."""
    return TrainingError(
        f"Training failed {counted(times, 'time')}, the last time with: {first_line(cause)} Fits that were done are "
        f"kept in {folder}; the same command goes on."
    )


def broke(cause: BaseException) -> TrainingError:
    """Return what there is to say when a fit's own code raised an error, which it would raise again."""
    name = type(cause).__name__
    told = f"{name}: {line}" if (line := first_line(cause)) else name
    return TrainingError(
        f"Training ended at an error in its own code ({told}): the worker's log, among Ray's, says where."
    )


def is_done(folder: Path, fit: str) -> bool:
    """Tell whether a fit has its result."""
    return (folder / fit / "outcome.json").is_file()


def failure_of(folder: Path, fit: str) -> Path:
    """Return the file that says why a fit came to nothing, if it did."""
    return folder / f"{fit}.failed"


def note_share(folder: Path, fit: str, share: float) -> None:
    """Write down how much of a fit is done, for whoever shows the progress."""
    (folder / f"{fit}.share").write_text(f"{share:.6f}", encoding="utf-8")


def share_done(folder: Path, fit: str) -> float:
    """Return how much of a fit is done, from 0 to 1; 0 where it has not said so yet."""
    if is_done(folder, fit):
        return 1.0
    try:
        return float((folder / f"{fit}.share").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # not there, or being written
        return 0.0


def drop_share(folder: Path, fit: str) -> None:
    """Drop what a fit said while it was going on."""
    (folder / f"{fit}.share").unlink(missing_ok=True)


def seconds_of(folder: Path, fit: str) -> float:
    """Return how long a fit that is done took."""
    return float(json.loads((folder / fit / "outcome.json").read_text(encoding="utf-8"))["seconds"])


def read_outcome(folder: Path, fit: str) -> Outcome:
    """Read the result of a fit."""
    from safetensors import safe_open

    facts = json.loads((folder / fit / "outcome.json").read_text(encoding="utf-8"))
    outputs = folder / fit / "outputs.safetensors"
    with safe_open(outputs, "numpy") as file:
        prediction = file.get_tensor("prediction")
    return Outcome(
        prediction=prediction,
        outputs=outputs,
        weights=folder / fit / "weights.safetensors",
        **facts,
    )
