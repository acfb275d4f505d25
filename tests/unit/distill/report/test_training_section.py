"""A comparison inside a run's page: all that we write into one is shown, and nothing that could load anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.data.dataset import read
from distill.data.splits import split
from distill.evaluate.provenance import provenance
from distill.judge.judged import Judged, SeededSplit
from distill.judge.run import scored
from distill.judge.summary import summarize
from distill.learn.inputs import ModelInputs
from distill.report.comparison import write
from distill.report.plots import MOST_POINTS
from distill.report.training_section import training_section

TESTED = MOST_POINTS + 100
PIXELS = "data:image/png;base64,iVBORw0KGgo="


def test_densities_and_warnings_of_a_comparison_are_shown(tmp_path: Path) -> None:
    parts = ["test"] * TESTED + ["train"] * 20 + ["valid"] * 20
    rows = [
        f"{'C' * (number // 25 + 1)}C(=O)N{'C' * (number % 25)},{number},{part}" for number, part in enumerate(parts)
    ]
    (tmp_path / "amides.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    dataset = read(tmp_path / "amides.csv", targets=["y"], split_column="part")
    cases = [SeededSplit(seed=0, split=split(dataset, "column"))]
    judged = Judged.of(replace(dataset, labels=dataset.labels / 100), cases)
    noise = np.random.default_rng(0).normal(size=judged.labels.shape)
    runs = [scored(judged, judged.splits[0], judged.labels + noise, method="minimol", seed=0)]
    network = {"title": "MiniMol", "version": "1", "licence": "MIT", "data": "PubChem", "overlap": "It has seen them."}
    facts = {**provenance(ModelInputs(dataset, None, tmp_path), cases, 0), "pretrained": {"minimol": network}}
    page = write(tmp_path / "out", judged, runs, summarize(judged, runs), made_of=facts).read_text()
    assert "<image" in page and "<strong>It has seen them.</strong>" in page
    assert training_section(tmp_path / "out").comparison == page


@pytest.mark.parametrize(
    "element",
    [
        '<image href="http://evil/x"/>',
        '<image xlink:href="http://evil/x"/>',
        '<image xlink:href="data:image/svg+xml;base64,AAAA"/>',
        f'<image xlink:href="{PIXELS}" href="http://evil/x"/>',
        f'<image xlink:href="{PIXELS}" src="http://evil/x"/>',
        f'<image xlink:href="{PIXELS}" onload="go()"/>',
    ],
)
def test_a_picture_that_is_no_pixels_of_its_own_is_text(element: str, tmp_path: Path) -> None:
    (tmp_path / "comparison.html").write_text(f"<svg>{element}</svg>")
    assert training_section(tmp_path).comparison == f"<svg>&lt;{element[1:]}</svg>"
