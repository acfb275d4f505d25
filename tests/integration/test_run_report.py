"""`gallon report`: what stands on the page of a run, and how it behaves in a browser."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from rdkit import RDConfig

from cluster.runs.run import Run
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Row, Store
from distill.report import gallery as galleries
from distill.report.run import Written, choose_run, write
from teacher.chemistry.facts import structure_of
from teacher.chemistry.molecule import key_of, mol_of, parse
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from teacher.llm.validation import validate
from tests.support.browser import expected, listening, load, opened
from tests.support.records import record

MOLECULES = 60
DEAD = 3
EVIL = "<script>alert('x')</script></script><img src=x onerror=alert(1)>"


def molecules() -> list[str]:
    """Return the first molecules of the NCI set that RDKit carries, without repetitions."""
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()
    return list(dict.fromkeys(parse(line.split()[0].encode()).smiles for line in lines[:100]))[:MOLECULES]


def evil_record(smiles: str, run: str, prompt: Prompt, began: float) -> Record:
    """Return a record that claims one ring too many and a ketone, and describes the molecule in an evil way."""
    facts = structure_of(mol_of(smiles))
    fields = {
        "functional_groups": ["ketone", *(name for name in facts.functional_groups if name != "ketone")],
        "aromatic_rings": facts.aromatic_rings,
        "aliphatic_rings": facts.aliphatic_rings + 1,
        "polarity": "low",
        "lipophilicity": "high",
        "description": f"It begins with {smiles[:4]}. {EVIL}",
    }
    text = json.dumps(fields)
    grounding = validate(text, "stop", prompt.json_schema, facts).grounding
    cells = {"solvent": EVIL}
    return record(smiles, text, grounding=grounding, run=run, time=began + 0.01, columns=cells)


@pytest.fixture
def told(store: Store, spec: Spec, describe: Prompt) -> Run:
    """A finished run in the store: records, dead letters, and a row that is no molecule."""
    store.save_spec(spec, describe)
    store.save_software("software", {"vllm": "1.2.3"})
    run = Run(store, spec, [EVIL], None, started=time.time())
    smiles = molecules()
    rows = [Row(key_of(each), 0, number) for number, each in enumerate(smiles, 1)]
    store.register(spec.id, run.id, rows)
    invalid = DeadLetter(
        stage="parse",
        error="InvalidMoleculeError",
        message="no SMILES",
        source=EVIL,
        row=61,
        raw=EVIL,
        run=run.id,
        time=1,
    )
    store.note_rows(run.id, 0, range(1, 62), {61: invalid})
    letters = [
        DeadLetter(
            stage="schema", error="RejectedError", message=EVIL, source="f", row=1, smiles=each, run=run.id, time=1
        )
        for each in smiles[:DEAD]
    ]
    outcomes = [*letters, *(evil_record(each, run.id, describe, run.started) for each in smiles[DEAD:])]
    store.commit(
        spec.id, run.id, [(row.key, outcome) for row, outcome in zip(rows, outcomes, strict=True)], [(1, 1)] * len(rows)
    )
    run.end("finished")
    return run


@pytest.fixture
def page(told: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setattr(galleries, "PER_PIECE", 20)  # so that there are several pieces
    return write(store, told.id[:12], tmp_path / "run.html", most=1000)


def entries(html: str) -> list[dict[str, Any]]:
    """Return what the page's pieces carry."""
    pieces = re.findall(r'class="piece">(.*?)</script>', html)
    return [entry for piece in pieces for entry in json.loads(zlib.decompress(base64.b64decode(piece)))]


def test_every_record_is_on_the_page_with_its_claims_judged(page: Written):
    html = page.path.read_text()
    assert (page.records, page.shown, page.bytes) == (MOLECULES - DEAD, MOLECULES - DEAD, page.path.stat().st_size)
    found = entries(html)
    assert sorted(entry["smiles"] for entry in found) == sorted(molecules()[DEAD:])
    for entry in found:
        marks = {name: mark for name, mark, _ in entry["groups"]}
        there = structure_of(mol_of(entry["smiles"])).functional_groups
        assert marks == {"ketone": "wrong", **dict.fromkeys(there, "right")}
        claims = {name: claimed == truth for name, claimed, truth in entry["facts"]}
        assert (claims["aromatic_rings"], claims["aliphatic_rings"]) == (True, False)
        assert (entry["made"]["run"], entry["made"]["column solvent"]) == (page.run, EVIL)
        atoms = mol_of(entry["smiles"]).GetNumAtoms()
        assert len(entry["sketch"]["at"]) == 2 * atoms
        assert all(atom < atoms for _, _, places in entry["groups"] for atom in places)


def test_the_ledger_and_the_dead_letters_are_told(page: Written):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.path.read_text()))
    assert "In 61 rows there are 60 molecules, 0 duplicates and 1 row without a molecule" in text
    assert "57 have an accepted annotation, 3 could not be annotated, and 0 are pending" in text
    assert re.search(r"3 RejectedError \(schema\)", text)
    assert re.search(r"1 InvalidMoleculeError \(parse\)", text)


def test_nothing_out_of_the_store_gets_into_the_page_as_html(page: Written):
    html = page.path.read_text()
    assert "<img" not in html
    assert "&lt;script&gt;alert" in html
    assert len(re.findall(r"<script(?! type=)", html)) == 1
    assert "script-src &#39;sha256-" in html


def test_a_gallery_of_some_says_so(told: Run, store: Store, tmp_path: Path):
    written = write(store, told.id, tmp_path / "few.html", most=10)
    assert (written.records, written.shown) == (MOLECULES - DEAD, 10)
    assert "10 of the 57 records" in written.path.read_text()


def test_a_run_without_records_has_a_page(store: Store, spec: Spec, describe: Prompt, tmp_path: Path):
    store.save_spec(spec, describe)
    run = Run(store, spec, ["file.smi"], 10, started=time.time())
    run.fail("The engine could not start.")
    html = write(store, None, tmp_path / "empty.html", most=10).path.read_text()
    assert "Failed: The engine could not start." in html
    assert 'id="gallery"' not in html


def test_which_run_is_meant(store: Store, told: Run):
    assert choose_run(store, None)[0] == choose_run(store, told.id[:5])[0] == told.id
    with pytest.raises(UsageError, match="There is no run 'x'"):
        choose_run(store, "x")


def test_no_run_at_all_is_one_sentence(store: Store):
    with pytest.raises(UsageError, match="knows no run"):
        choose_run(store, None)


def test_a_folder_with_nothing_learnt_is_one_sentence(told: Run, store: Store, tmp_path: Path):
    with pytest.raises(UsageError, match="neither a model nor a comparison"):
        write(store, None, tmp_path / "x.html", most=1, folders=[tmp_path])


def evil_comparison(url: str) -> str:
    return f"""<!doctype html><html><head><meta http-equiv="refresh" content="0;url={url}/head"></head><body><main>
    <meta http-equiv="refresh" content="0;url={url}/main"><script>top.location = "{url}/script"</script>
    <img src="{url}/img" onerror="top.location='{url}/handler'"><iframe src="{url}/frame"></iframe>
    <LINK rel="stylesheet" href="{url}/style"><link rel="preconnect" href="{url}"><base href="{url}">
    <style>@import "{url}/import"; p {{ background: url({url}/background) }}</style><p>Compared</p>
    <form action="{url}/form"><button autofocus>Go</button></form><object data="{url}/object"></object>
    <svg><use href="{url}/use#a"/><image href="{url}/image"/></svg><iframe/src="{url}/slash"></iframe>
    </main></body></html>"""


def test_what_others_wrote_into_a_comparison_stays_in_a_sandbox(told: Run, store: Store, tmp_path: Path):
    with listening() as (url, heard):
        evil = tmp_path / "evil" / "comparison.html"
        evil.parent.mkdir()
        evil.write_text(evil_comparison(url))
        written = write(store, told.id, tmp_path / "run.html", most=1, folders=[evil.parent])
        html = written.path.read_text()
        assert re.search(r'<iframe class="comparison" title="[^"<>]*" sandbox srcdoc="[^"<>]*"></iframe>', html)
        assert (html.count("refresh"), html.count('http-equiv="refresh"')) == (2, 0)
        load(written.path, tmp_path / "profile")
        assert heard == []


def test_the_gallery_finds_orders_and_turns_pages(page: Written):
    with opened(page.path) as browser:
        found, cards = expected(browser.locator("#found")), expected(browser.locator("#cards article"))
        found.to_have_text("57 molecules")
        cards.to_have_count(24)
        browser.click("#next")
        browser.click("#next")
        cards.to_have_count(9)
        browser.fill("input[name=text]", molecules()[-1])
        expected(browser.locator("#cards .smiles").first).to_have_text(molecules()[-1])
        browser.click("button[type=reset]")
        found.to_have_text("57 molecules")
        browser.select_option("select[name=group]", "ketone")
        browser.select_option("select[name=mark]", "missed")
        found.to_have_text("0 molecules")
        browser.select_option("select[name=mark]", "wrong")
        cards.to_have_count(24)
        browser.click("button[type=reset]")
        browser.select_option("select[name=order]", "best")
        best = max(entry["score"] for entry in entries(page.path.read_text()))
        expected(browser.locator("#cards summary").first).to_contain_text(f"Grounding {best:.2f}")


def test_a_search_for_smiles_tells_aromatic_atoms_from_others(page: Written):
    aromatic = [smiles for smiles in molecules()[DEAD:] if "c1ccccc1" in smiles]
    with opened(page.path) as browser:
        found = expected(browser.locator("#found"))
        browser.fill("input[name=text]", "c1ccccc1")
        found.to_have_text(f"{len(aromatic)} molecules")
        browser.fill("input[name=text]", "C1CCCCC1")
        found.to_have_text(re.compile("^[0-9] molecules?$"))
        browser.fill("input[name=text]", "IT BEGINS WITH")
        found.to_have_text("57 molecules")


def test_pages_are_turned_only_where_there_are_several(page: Written):
    with opened(page.path) as browser:
        pager = expected(browser.locator("#pages"))
        pager.to_be_visible()
        browser.fill("input[name=text]", molecules()[-1])
        pager.to_be_hidden()


def test_evil_text_is_shown_as_text_and_provenance_is_one_click_away(page: Written):
    with opened(page.path) as browser:
        card = browser.locator("#cards article").first
        assert EVIL in card.locator("p").inner_text()
        card.locator("summary").click()
        assert "1.2.3" in card.locator("dl").inner_text()
        assert "describe v1" in card.locator("dl").inner_text()


def test_a_phone_needs_no_scrolling_to_the_side(page: Written):
    with opened(page.path, viewport={"width": 360, "height": 740}, color_scheme="dark") as browser:
        browser.wait_for_selector("#cards article")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360
