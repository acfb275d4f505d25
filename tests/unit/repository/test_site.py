"""The documentation site: it builds without a warning, loads nothing from the network, and says what the code does."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

import gallon
from cluster import metrics
from cluster.records import export
from cluster.store.record import DeadLetter, Ledger
from distill.ranking.prompt import CANDIDATES
from distill.report import comparison
from distill.screen import screening
from tests.benchmarks import moleculeace_table, paper_tables, tables

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PACKAGES = ("gallon", "cluster", "teacher", "distill")
GIVEN = "…"  # what a quoted message has in the place of names and numbers


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built; a link that leads nowhere is a warning, and --strict makes that an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser loads by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("img", "script", "iframe") and given.get("src"):
            self.urls.append(given["src"] or "")
        if tag == "link" and given.get("rel") != "canonical":
            self.urls.append(given.get("href") or "")


def test_pages_load_nothing_from_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert [url for url in loaded.urls if "//" in url and not url.startswith("data:")] == [], page.name


def test_the_reference_is_generated_from_the_code(site: Path) -> None:
    commands = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    assert "gallon screen" in commands
    assert "--max-error-rate" in commands
    shown = (site / "reference" / "metrics.html").read_text(encoding="utf-8")
    assert metrics.ROWS.description in shown
    assert "ray_gallon_rows_total" in shown
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert [name for name in gallon.__all__ if f"gallon.{name}" not in python] == []
    assert not [page.name for page in site.rglob("*.html") if "<!-- generate" in page.read_text(encoding="utf-8")]


def test_every_column_of_the_output_files_is_explained() -> None:
    text = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    columns = {*export.OURS, *screening.OURS, *comparison.COLUMNS}
    columns |= {field.name for each in (DeadLetter, Ledger) for field in fields(each)}
    assert sorted(column for column in columns if f"`{column}`" not in text) == []


def code() -> Iterator[ast.AST]:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def test_every_environment_variable_that_the_code_reads_is_explained() -> None:
    text = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    read = set()
    for node in code():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("environ.get") and node.args:
            read.add(ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else None)
        if isinstance(node, ast.keyword) and node.arg == "envvar" and isinstance(node.value, ast.Constant):
            read.add(node.value.value)
    assert len(read) > 4
    assert sorted(name for name in read if name and f"`{name}`" not in text) == []


def sentences() -> Iterator[str]:
    """Yield the texts in the code, with `GIVEN` in the place of what is filled in."""
    for node in code():
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GIVEN for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_messages_that_troubleshooting_explains_are_those_of_the_code() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    known = list(sentences())
    assert len(quoted) > 20
    assert [message for message in quoted if not any(message in sentence for sentence in known)] == []


def test_the_tables_of_results_are_those_of_the_stored_comparisons(capsys: pytest.CaptureFixture[str]) -> None:
    tables.main()
    text = (DOCS / "benchmarks" / "models.md").read_text(encoding="utf-8")
    rows = [line.partition(" | ")[2] for line in capsys.readouterr().out.splitlines() if "±" in line]
    assert len(rows) > 30
    assert [row for row in rows if row not in text] == []


def test_the_tables_of_the_papers_methods_are_those_of_the_stored_rows(capsys: pytest.CaptureFixture[str]) -> None:
    paper_tables.main()
    text = (DOCS / "benchmarks" / "papers.md").read_text(encoding="utf-8")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `") or " % |" in line]
    assert len(rows) > 30
    assert [row for row in rows if row not in text] == []


def test_what_the_page_of_the_papers_says_of_chance_and_of_texts_holds() -> None:
    text = " ".join((DOCS / "benchmarks" / "papers.md").read_text(encoding="utf-8").split())
    kept = json.loads((tables.RESULTS / paper_tables.KEPT).read_text(encoding="utf-8"))["rows"]
    of = {(row["part"], row["method"]): row for row in kept if row["set"] == "esol" and row["part"] != "depth"}
    scores = {part: row["mean"] for (part, method), row in of.items() if method == "e-llagnn-sage"}
    ahead = [scores[f"e-llagnn {n}% by random"] - scores[f"e-llagnn {n}% by uncertainty"] for n in (5, 10, 20, 50)]
    assert [f"{gain:.3f}" for gain in ahead] == ["0.010", "0.011", "0.011", "-0.006"]
    assert "by 0.010 or 0.011 at 5, 10 and 20 % and behind it by 0.006 at 50 %" in text
    every, none = (of["e-llagnn all", method] for method in ("e-llagnn-sage", "library-sage"))
    assert f"all texts over none ({every['valid']:.3f}, {none['valid']:.3f})" in text and every["valid"] < none["valid"]
    assert f"worse on the test part ({every['mean']:.3f}, {none['mean']:.3f})" in text and every["mean"] > none["mean"]


def test_what_the_page_of_the_papers_says_of_graph_networks_as_students_holds() -> None:
    text = " ".join((DOCS / "benchmarks" / "papers.md").read_text(encoding="utf-8").split())
    kept = json.loads((tables.RESULTS / paper_tables.KEPT).read_text(encoding="utf-8"))["rows"]
    of = {(row["set"], row["method"]): row for row in kept if row["part"] == "dillm"}

    def gains(name: str, network: str) -> tuple[float, float]:
        """Of a network by its language teacher, on the validation and the test part."""
        sign = -1 if name == "esol" else 1
        alone, taught = of[name, network], of[name, f"{network}+lm"]
        return sign * (taught["valid"] - alone["valid"]), sign * (taught["mean"] - alone["mean"])

    (valid, test), (valid_gin, test_gin) = gains("esol", "dmpnn"), gains("esol", "gin")
    assert f"On ESOL the language teacher brings D-MPNN {test:.3f} and GIN {test_gin:.3f} on the test part" in text
    assert f"and costs {-valid:.3f} and {-valid_gin:.3f} on the validation part" in text
    (valid, test), (valid_gin, test_gin) = gains("bbbp", "dmpnn"), gains("bbbp", "gin")
    assert f"On BBBP it brings {valid:.3f} and {valid_gin:.3f} on the validation part" in text
    assert f"on the test part it costs D-MPNN {-test:.3f} and brings GIN {test_gin:.3f}" in text


def test_what_is_said_of_sets_that_nobody_looked_at_is_what_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / "benchmarks" / "models.md").read_text(encoding="utf-8")
    moleculeace_table.main()
    table = capsys.readouterr().out.strip()
    assert table in text and "▲" not in table and "▼" not in table and "which is not significant" in text
    words = " ".join(text.split())
    sets = json.loads((tables.RESULTS / moleculeace_table.KEPT).read_text(encoding="utf-8"))["sets"]
    sizes, agree = ([each[what] for each in sets.values()] for what in ("molecules", "agree"))
    assert f"of {min(sizes)} to {max(sizes):,} molecules ({sum(sizes):,} in all)" in words
    assert f"call {min(agree) * 100:.1f} to {max(agree) * 100:.1f} % of a set's molecules the same" in words
    best = [min(each["rows"], key=lambda name, rows=each["rows"]: rows[name]["rmse"]) for each in sets.values()]
    assert f"best on {best.count('student')} of {len(sets)} sets" in words
    front = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"On {len(sets)} affinity sets that no default was chosen by" in front
    assert f"ahead by the mean and best on {best.count('student')}, not significantly" in front
    assert table.splitlines()[2].startswith("| `student` |")


def test_what_the_page_of_the_papers_says_of_the_parts_of_mmf_holds() -> None:
    text = " ".join((DOCS / "benchmarks" / "papers.md").read_text(encoding="utf-8").split())
    kept = json.loads((tables.RESULTS / paper_tables.KEPT).read_text(encoding="utf-8"))["rows"]
    of = {(row["set"], row["method"]): row for row in kept if row["part"] in ("mmf", "dillm")}
    esol, bbbp = ({method: row for (of_set, method), row in of.items() if of_set == name} for name in ("esol", "bbbp"))
    parts = [name for name in esol if name.startswith("mmf")]
    assert min(parts, key=lambda name: esol[name]["valid"]) == "mmf"
    costs = [esol[one]["mean"] - esol[other]["mean"] for one, other in (("mmf", parts[0]), ("mmf-no-tokens", "mmf"))]
    assert f"costs {costs[0]:.3f}, and a text that is read as one vector {costs[1]:.3f}" in text
    alone = esol["dmpnn"]
    assert f"validates better ({alone['valid']:.3f}, on the test part {alone['mean']:.3f})" in text
    assert alone["valid"] < esol["mmf"]["valid"]
    of_parts = [bbbp[name] for name in parts]
    valid = [row["valid"] for row in of_parts]
    assert f"on the validation part ({min(valid):.3f} to {max(valid):.3f})" in text
    assert f"attention costs {bbbp['mmf-no-attention']['mean'] - bbbp['mmf']['mean']:.3f}" in text
    alone = bbbp["dmpnn"]
    assert f"ahead of D-MPNN alone ({alone['mean']:.3f}), which validates at {alone['valid']:.3f}" in text
    assert min(valid) > alone["valid"] and min(row["mean"] for row in of_parts) > alone["mean"]


def test_what_the_page_of_the_papers_says_of_gallon_predictions_and_gradients_holds() -> None:
    text = " ".join((DOCS / "benchmarks" / "papers.md").read_text(encoding="utf-8").split())
    kept = json.loads((tables.RESULTS / paper_tables.KEPT).read_text(encoding="utf-8"))["rows"]
    for name, sign, told in (("esol", -1, "by 0.08 to 0.10 on ESOL"), ("bbbp", 1, "by 0.017 to 0.025 on BBBP")):
        scores = {row["method"]: row["mean"] for row in kept if (row["set"], row["part"]) == (name, "gallon")}
        behind = [sign * (scores["gallon-gcn"] - score) for method, score in scores.items() if method != "gallon-gcn"]
        digits = 2 if name == "esol" else 3
        assert f"by {min(behind):.{digits}f} to {max(behind):.{digits}f} on" in told and told in text
    bbbp = {(row["part"], row["method"]): row for row in kept if row["set"] == "bbbp"}
    alone = bbbp["gallon", "gallon-student"]["mean"]
    taught = [bbbp["gallon", name]["mean"] - alone for name in ("gallon+gnn", "gallon+lm", "gallon")]
    assert f"{max(taught):.3f} or less" in text
    texts, none = (bbbp["e-llagnn all", method] for method in ("e-llagnn-sage", "library-sage"))
    gain, cost = texts["mean"] - none["mean"], none["valid"] - texts["valid"]
    assert f"On BBBP texts bring {gain:.3f} on the test part and cost {cost:.3f} on the validation part" in text
    ranked = [row for row in kept if row["part"] == "ranked"]
    assert f"puts the {CANDIDATES} candidates" in text and len(ranked) == 3
    assert np.ptp([row["mean"] for row in ranked]) < max(row["std"] for row in ranked)  # makes no difference
    few = {row["method"]: row["valid"] for row in kept if row["part"] == "few-shot"}
    assert f"validates {few['mmf-few-shot'] - few['mmf']:.3f} worse" in text
    norms = {(row["method"], row["layers"]): row["gradients"] for row in kept if row["part"] == "depth"}
    gains = [norms["e-llagnn-sage", layers][0] / norms["library-sage", layers][0] for layers in (1, 2, 3)]
    assert f"is {min(gains):.1f} to {max(gains):.1f} times that without" in text
    assert min(norm for each in norms.values() for norm in each) > 0.8  # none vanishes


def test_the_readme_tells_the_means_of_the_stored_25_splits() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    esol, clintox = means_of("esol"), means_of("clintox")
    assert min(esol, key=lambda method: float(esol[method])) == "lightgbm"
    assert max(clintox, key=lambda method: float(clintox[method])) == "lightgbm"
    told = f"LightGBM has the best mean ({esol['lightgbm']}; the student with a graph teacher {esol['student+gnn']}"
    assert f"{told}, with both {esol['student+both']})" in text
    assert f"on ClinTox ({clintox['lightgbm']}; {clintox['student+gnn']} and {clintox['student+both']})" in text


def test_nothing_is_significant_where_the_documentation_says_so() -> None:
    assert "**ClinTox over 25 splits: nothing is significant.**" in (DOCS / "benchmarks" / "models.md").read_text(
        "utf-8"
    )
    pairwise = tables.Column.read(tables.RESULTS / "clintox-scaffold-cv" / "table.json").pairwise
    assert pairwise is not None and len(pairwise.methods) == len(means_of("clintox"))
    assert not (abs(pairwise.difference) > pairwise.half).any()


def means_of(name: str) -> dict[str, str]:
    file = ROOT / "tests" / "benchmarks" / "results" / f"{name}-scaffold-cv" / "table.json"
    return {row["method"]: f"{row['mean']:.3f}" for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}


def test_every_page_is_in_the_navigation() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", configuration))
    written = {str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")}
    written |= {str(file.relative_to(DOCS).with_suffix(".md")) for file in DOCS.rglob("*.ipynb")}
    assert written - listed == set()


def test_the_citation_has_what_the_format_requires() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert cited["license"] == "Apache-2.0"
    assert cited["references"][0]["identifiers"] == [{"type": "other", "value": "arXiv:2406.01032"}]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160
