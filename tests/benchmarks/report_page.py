"""How large the page of a run is, how long writing it takes, and how soon a browser lets one search it.

    python -m tests.benchmarks.report_page [--records 100000] [--json]

The records are of real molecules, in a real Redis; their texts are made of what RDKit says. Needs Chromium and
Playwright.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random

from cluster.runs.run import Run
from cluster.store.open import open_store
from cluster.store.record import Record
from cluster.store.store import Row, Store
from distill.report.run import write
from teacher.chemistry.facts import facts_of
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.llm.prompt import load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from teacher.llm.validation import RejectedError, validate
from teacher.tiny import answers
from teacher.tiny.library import read
from tests.support.browser import expected, opened
from tests.support.data import SHARED_DATA
from tests.support.machine import machine
from tests.support.records import record

BATCH = 1_000
SCHEMA = load("describe").json_schema
LIBRARY = SHARED_DATA / "library" / "pubchem.smi.zst"  # or else the 4,999 molecules that come with RDKit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_store(f"{folder}/store") as store:
        run = _fill(store, arguments.records)
        began = time.perf_counter()
        written = write(store, run, Path(folder) / "report.html", most=arguments.records)
        seconds = time.perf_counter() - began
        result = {
            "records": written.shown,
            "seconds_to_write": round(seconds, 1),
            "megabytes": round(written.bytes / 1e6, 1),
            **_browse(written.path, written.shown),
            "machine": machine(),
        }
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


def _fill(store: Store, number: int) -> str:
    """Put a run with so many records into the store, and return its id."""
    prompt = load("describe")
    spec = Spec(model=Model(name="RDKit", revision="1"), prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=400))
    store.save_spec(spec, prompt)
    run = Run(store, spec, ["library.smi"], None, started=time.time())
    with ProcessPoolExecutor() as pool:
        for records in pool.map(_records, _parts(number), [run.id] * (number // BATCH + 1)):
            rows = [Row(key, 0, 1) for key, _ in records]
            store.register(spec.id, run.id, rows)
            store.commit(spec.id, run.id, records, [(400, 60)] * len(records))
    run.end("finished")
    return run.id


def _parts(number: int) -> Iterator[list[str]]:
    smiles = iter(dict.fromkeys(read([LIBRARY] if LIBRARY.is_file() else None)))
    left = number
    while part := list(islice(smiles, min(left, BATCH))):
        left -= len(part)
        yield part


def _records(smiles: Sequence[str], run: str) -> list[tuple[bytes, Record]]:
    """Make records that are wrong about a ring or a group here and there."""
    random = Random(smiles[0])
    made = []
    for each in smiles:
        try:
            molecule = parse(each.encode())
        except InvalidMoleculeError:
            continue
        facts = facts_of(molecule.mol)
        fields = json.loads(answers.write(facts, molecule.mol, random))
        if random.random() < 0.5:
            fields["aliphatic_rings"] += 1
            fields["functional_groups"] = fields["functional_groups"][1:]
        text = json.dumps(fields)
        try:
            grounding = validate(text, "stop", SCHEMA, facts).grounding
        except RejectedError:  # cages of more than 99 rings
            continue
        made.append((molecule.key, record(molecule.smiles, text, grounding=grounding, run=run, time=time.time())))
    return made


def _browse(page: Path, records: int) -> dict[str, float]:
    """Measure the seconds until molecules are drawn, until all are looked through, and what a page turn takes."""
    with opened(page) as browser:
        expected(browser.locator("#cards article")).to_have_count(24, timeout=60_000)
        interactive = browser.evaluate("performance.now()") / 1000  # since the page was asked for
        began = time.perf_counter()
        browser.click("#next")
        expected(browser.locator("#page")).to_have_value("2")
        turned = time.perf_counter() - began
        began = time.perf_counter()
        browser.fill("input[name=text]", "sulfonamide")
        found = browser.locator("#found")
        expected(found).to_contain_text("through", timeout=60_000)
        expected(found).not_to_contain_text("through", timeout=60_000)
        searched = time.perf_counter() - began
        assert found.inner_text() != f"{records:,} molecules"
    facts = {"until_interactive": interactive, "page_turn": turned, "search": searched}
    return {f"seconds_{name}": round(seconds, 2) for name, seconds in facts.items()}


if __name__ == "__main__":
    main()
