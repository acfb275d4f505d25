"""Models go to the Hugging Face Hub and come from there, by its own library; a folder stands for the Hub."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

import gallon
from distill.models.hub import is_on_hub, local_model
from distill.models.model_store import CARD, FILES, OUTPUTS, README
from teacher.errors import UsageError
from tests.support.models import TARGET, untrained_student

NAME = "somebody/solubility"
SMILES = ["CCO", "c1ccccc1"]


class Hub:
    """A folder for each repository, filled and read by calls that the Hub's library would take."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.calls = root, list[tuple[str, dict[str, Any]]]()
        api = huggingface_hub.HfApi
        for owner, name, stand_in in (
            (api, "create_repo", self._create_repo),
            (api, "upload_folder", self._upload_folder),
            (huggingface_hub, "snapshot_download", self._snapshot_download),
        ):
            monkeypatch.setattr(owner, name, self._as(name, getattr(owner, name), stand_in))

    def _as(self, name: str, real: Callable[..., Any], stand_in: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            bound = dict(inspect.signature(real).bind(*arguments, **options).arguments)
            bound.pop("self", None)
            self.calls.append((name, bound))
            return stand_in(**bound)

        return call

    def _create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def _upload_folder(self, repo_id: str, folder_path: Path, allow_patterns: list[str], **_: Any) -> None:
        for file in folder_path.iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(file, self.root / repo_id / file.name)

    def _snapshot_download(self, repo_id: str, allow_patterns: list[str], revision: str | None) -> str:
        if not (self.root / repo_id).is_dir():
            response = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))
            raise RepositoryNotFoundError("Repository Not Found for url.\nMore.", response=response)
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path / "hub", monkeypatch)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_student(tmp_path_factory.mktemp("model"))


def test_a_model_on_the_hub_predicts_what_it_did(student: Path, hub: Hub) -> None:
    (student / OUTPUTS).write_text("of a teacher")
    (student / "notes.txt").write_text("of the user")
    gallon.pack(student, f"hf://{NAME}")
    there = {file.name for file in (hub.root / NAME).iterdir()}
    assert CARD in there and there <= set(FILES) - {OUTPUTS}
    assert dict(hub.calls)["create_repo"]["private"] is True  # who wants others to see it says so there
    expected = gallon.load(student).predict(SMILES)
    assert gallon.load(f"hf://{NAME}@main").predict(SMILES).equals(expected)
    assert dict(hub.calls)["snapshot_download"]["revision"] == "main"


def test_a_library_is_screened_by_a_model_on_the_hub(student: Path, hub: Hub, tmp_path: Path) -> None:
    gallon.pack(student, f"hf://{NAME}")
    (tmp_path / "library.smi").write_text("CCO\nc1ccccc1\n")
    done = gallon.screen(tmp_path / "library.smi", student=f"hf://{NAME}", out=tmp_path / "out.csv")
    assert (done.rows, done.invalid) == (2, 0)


def test_the_card_is_one_that_the_hub_reads(student: Path) -> None:
    card = huggingface_hub.ModelCard.load(student / README)
    assert card.data.library_name == "gallon"
    assert set(card.data.tags or []) >= {"chemistry", "molecules"}
    assert TARGET in card.text and "gallon.load" in card.text


def test_what_the_hub_does_not_have_is_one_sentence(hub: Hub) -> None:
    with pytest.raises(UsageError, match=r"does not serve hf://nobody/nothing \(Repository Not Found for url\): check"):
        gallon.load("hf://nobody/nothing")


@pytest.mark.parametrize("name", ["hf://nothing", "hf://a/b/c", "hf://a/b@", "hf:///a"])
def test_what_is_no_name_on_the_hub_is_refused(hub: Hub, name: str) -> None:
    assert is_on_hub(Path(name))
    with pytest.raises(UsageError, match="names no model on the Hub"):
        local_model(Path(name))
    assert not hub.calls


def test_other_places_are_on_this_machine(hub: Hub) -> None:
    assert local_model(Path("models/hf")) == Path("models/hf")
    assert not hub.calls
