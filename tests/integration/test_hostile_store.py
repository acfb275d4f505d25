"""A store in which every text was written by somebody hostile: nothing of it steers a terminal or a browser."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.runs.run import Run
from cluster.runtime.process import Process
from cluster.store.record import DeadLetter
from cluster.store.store import Row, Store
from distill.report.run import write
from gallon.cli.app import main
from teacher.chemistry.molecule import key_of
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.browser import listening, load
from tests.support.records import record

KEYS = [key_of(smiles) for smiles in ("CCO", "CCN", "CCC")]


def evil(url: str) -> str:
    """Return what steers a terminal, ends a script or an attribute, and loads from an address."""
    return (
        "\x1b]0;pwned\x07\x1b[2J\x9b31m\r\b\u202e"
        f"</script><script>fetch('{url}/script')</script>\"'><img src={url}/img onerror=fetch('{url}/handler')>"
        f'<meta http-equiv="refresh" content="0;url={url}/meta"><link rel=stylesheet href={url}/style>'
        f"<style>@import '{url}/import'; * {{ background: url({url}/background) }}</style>"
        f"<iframe src={url}/frame></iframe><svg><image href={url}/image /></svg>=cmd|'/c calc'!A1 {{{{ 7 * 7 }}}}"
    )


@pytest.fixture
def hostile(store: Store, spec: Spec, describe: Prompt) -> Iterator[tuple[Store, list[bytes]]]:
    """The store, and what was sent to the address that its texts name."""
    with listening() as (url, heard):
        text = evil(url)
        spec = spec.model_copy(
            update={
                "model": spec.model.model_copy(update={"name": text, "revision": text}),
                "prompt": spec.prompt.model_copy(update={"name": text}),
                "task": text,
            }
        )
        store.save_spec(spec, describe)
        store.save_software("software", {text: text, "rdkit": text})
        run = Run(store, spec, [text], None, started=time.time())
        store.heartbeat(run.id, spec.id, Process.own(), 60)
        sign = {"gpus": 1.0, "engine": "ready", "in_flight": 0, "accepted": 1, "dead": 0, "deaths": 1, "time": 1.0}
        store.save_worker_status(run.id, text, {**sign, "errors": [[1.0, text]]})
        store.register(spec.id, run.id, [Row(key, 0, row) for row, key in enumerate(KEYS, 1)])
        answer = {
            "functional_groups": ["alcohol"],
            "aromatic_rings": 0,
            "aliphatic_rings": 0,
            "polarity": "low",
            "lipophilicity": "low",
            "description": text,
        }
        letter = DeadLetter(
            stage="schema", error=text, message=text, source=text, row=1, smiles=text, raw=text, text=text, run=run.id,
            time=1.0, columns={text: text},
        )  # fmt: skip
        store.note_rows(run.id, 0, range(1, 5), {4: letter})
        accepted = record("CCO", json.dumps(answer), run=run.id, finish_reason=text, columns={text: text})
        store.commit(spec.id, run.id, [(KEYS[0], accepted), (KEYS[1], letter)], [(1, 1)] * 2)
        run.fail(text)
        yield store, heard


@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["status", "--json"],
        ["dead"],
        ["dead", "--json"],
        ["dead", "--out", "{folder}/dead.jsonl"],
        ["export", "{folder}/out.csv"],
        ["export", "{folder}/out.jsonl"],
        ["export", "{folder}/out.parquet"],
        ["report", "--out", "{folder}/report.html"],
        ["verify", "{folder}/library.smi", "--deep"],
        ["verify", "{folder}/library.smi", "--deep", "--json"],
    ],
    ids=" ".join,
)
def test_no_verb_passes_it_on_to_the_terminal(
    hostile: tuple[Store, list[bytes]],
    tmp_path: Path,
    verb: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, heard = hostile
    (tmp_path / "library.smi").write_text("CCO\nCCN\nCCC\n")
    if verb[0] == "verify":
        forged = record("\x1b[2J", "\x1b[2J")
        store.commit(next(iter(store.specs())), next(iter(store.runs())), [(KEYS[2], forged)], [(1, 1)])
    words = [word.format(folder=tmp_path) for word in verb]
    spec = ["--spec", next(iter(store.specs()))] if verb[0] == "verify" else []
    monkeypatch.setattr(sys, "argv", ["gallon", *words, *spec, "--store", store.url])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code in {None, 0, 1, 2}
    for said in (out, err):
        assert all(char.isprintable() or char in "\n\t" for char in said), said
    assert "Traceback" not in err
    assert heard == []


def test_a_browser_shows_it_and_loads_nothing(hostile: tuple[Store, list[bytes]], tmp_path: Path) -> None:
    store, heard = hostile
    (run,) = store.runs()
    written = write(store, run, tmp_path / "run.html", most=10)
    load(written.path, tmp_path / "profile")
    assert heard == []


def test_the_listener_would_have_heard_a_page_that_loads_something(tmp_path: Path) -> None:
    with listening() as (url, heard):
        (tmp_path / "page.html").write_text(f"<!doctype html><body>{evil(url)}</body>")
        load(tmp_path / "page.html", tmp_path / "profile")
        assert heard != []
