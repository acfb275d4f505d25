"""Which molecules are alike, what they lend each other, and which of them stand for a library."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas
import pytest
from numpy.typing import NDArray
from rdkit.Chem import Mol, MolFromSmiles, MolToSmiles
from rdkit.DataStructs import ExplicitBitVect

from cluster.library.kept import keep_columns
from cluster.library.source import resolve
from distill.data.subset import Pool, choose, read_pool, write
from distill.features.neighbours import Neighbours, fingerprints_of, neighbour_features, packed, packed_of
from teacher.errors import UsageError
from teacher.tiny import library
from tests.support.molecules import tanimoto

ALCOHOLS = ["CCO", "CCCO", "CCCCO", "CCCCCO"]
ACIDS = ["OC(=O)c1ccccc1", "OC(=O)c1ccc(C)cc1", "OC(=O)c1ccc(CC)cc1"]


def ecfp4(*smiles: str) -> list[ExplicitBitVect]:
    return fingerprints_of([MolFromSmiles(one) for one in smiles])


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Three hundred molecules of NCI."""
    smiles = [one for one in library.read(None)[:330] if MolFromSmiles(one)][:300]
    return Pool(smiles, ecfp4(*smiles))


@pytest.mark.parametrize("by", ["degree", "random"])
def test_any_choice_tells_its_coverage_beside_that_at_random(by: Literal["degree", "random"], pool: Pool) -> None:
    covering, chosen = choose(pool, 20, 0), choose(pool, 20, 0, by=by)
    assert len(set(chosen.rows.tolist())) == 20
    assert chosen.coverage < covering.coverage and chosen.coverage_at_random == covering.coverage_at_random


def test_likeness_is_the_share_of_common_bits():
    one, *others = ecfp4("CCO", "CCCO", "c1ccccc1", "OCC")
    shares = [(one & other).GetNumOnBits() / (one | other).GetNumOnBits() for other in others]
    assert Neighbours.of(packed(others)).similarity(packed([one])[0]) == pytest.approx(shares)
    assert shares[1:] == [0, 1]


def test_a_molecule_borrows_from_the_lenders_most_like_it_and_never_from_itself():
    donors = np.array([1, 3, 4, 6])  # two alcohols, which lend (1, 0), and two acids, which lend (0, 1)
    lent = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    found = neighbour_features(packed(ecfp4(*ALCOHOLS, *ACIDS)), donors, lent, neighbours=1)
    assert found[:4, 0].tolist() == [1] * 4 and found[4:, 1].tolist() == [1] * 3
    assert (found[:, 2] < 1).all()  # how alike: nothing here is the same as anything else


def test_the_more_alike_a_lender_is_the_more_it_counts():
    lent = np.array([[1], [0]], dtype=np.float32)
    fingerprints = ecfp4("CCCCO", "CCCCCO", "OC(=O)c1ccccc1")
    (near, alike), *_ = neighbour_features(packed(fingerprints), np.array([1, 2]), lent, neighbours=2)
    first, second = tanimoto(fingerprints[0], fingerprints[1:])
    assert near == pytest.approx(first / (first + second))
    assert alike == pytest.approx((first + second) / 2)


def test_who_has_nobody_like_it_borrows_nothing():
    lent = np.ones((1, 3), dtype=np.float32)
    assert not neighbour_features(packed(ecfp4("[Na+]", "CCO")), np.array([1]), lent, neighbours=4)[0].any()


def test_the_chosen_stand_for_the_library_better_than_as_many_at_random(pool: Pool):
    subset = choose(pool, 15, seed=0)
    assert len(set(subset.rows.tolist())) == 15
    assert subset.coverage > subset.coverage_at_random + 0.03
    chosen = [pool.fingerprints[row] for row in subset.rows]
    nearest = [tanimoto(fingerprint, chosen).max() for fingerprint in pool.fingerprints]
    assert subset.coverage == pytest.approx(np.mean(nearest))


def test_the_same_seed_chooses_the_same(pool: Pool):
    one, other = (choose(pool, 10, seed=1) for _ in range(2))
    assert (one.rows == other.rows).all() and one.rows.tolist() != choose(pool, 10, seed=2).rows.tolist()


def test_choosing_one_holds_no_more_than_the_sample_that_stands_for_the_library(pool: Pool):
    larger = Pool(pool.smiles * 8, pool.fingerprints * 8)
    tracemalloc.start()
    chosen = choose(larger, 1, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2048 * len(larger.smiles)  # bytes: a few times a byte for each bit of the sample
    cover = {row: tanimoto(pool.fingerprints[row], pool.fingerprints).mean() for row in range(len(pool.smiles))}
    assert cover[int(chosen.rows[0]) % len(pool.smiles)] == max(cover.values())  # about all of them were tried


def test_the_most_similar_are_those_of_a_stable_sort_of_all(pool: Pool):
    rows = packed(pool.fingerprints + pool.fingerprints[::-1])  # each has an equal
    known = Neighbours.of(rows)
    for place in range(0, len(rows), 7):
        alike = known.similarity(rows[place])
        alike[place] = 0
        for k in (1, 8, len(rows), len(rows) + 1):
            places, similarity = known.most_similar(rows[place], k, place)
            assert places.tolist() == np.argsort(-alike, kind="stable")[:k].tolist()
            assert np.array_equal(similarity, alike[places])


def test_all_may_be_chosen_but_not_more(pool: Pool):
    subset = choose(pool, len(pool.smiles), seed=0)
    assert sorted(subset.rows) == list(range(len(pool.smiles))) and subset.coverage == pytest.approx(1)
    with pytest.raises(UsageError, match="holds 300 molecules, not 301: ask for fewer"):
        choose(pool, 301, seed=0)


class Fixed:
    """Is as unsure of the molecules of a pool as a test says, with one labelled molecule."""

    def __init__(self, pool: Pool, labelled: int, unsure: NDArray[np.float64]) -> None:
        self.labelled = frozenset([pool.smiles[labelled]])
        self._near = tanimoto(pool.fingerprints[labelled], pool.fingerprints)
        self._unsure = dict(zip(pool.smiles, zip(unsure, self._near, strict=True), strict=True))

    def of(self, mols: Sequence[Mol]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        said = np.array([self._unsure[MolToSmiles(mol)] for mol in mols])
        return said[:, :1], said[:, 1]

    def relative(self, unsure: NDArray[np.float64]) -> NDArray[np.float64]:
        return unsure[:, 0] / unsure.mean()


def test_a_student_has_chosen_what_it_is_unsure_of_and_nothing_that_is_labelled(tmp_path: Path) -> None:
    (tmp_path / "library.smi").write_text("\n".join([*ALCOHOLS, *ACIDS]) + "\n")
    sources = resolve([str(tmp_path / "library.smi")])
    plain = read_pool(sources)
    acids = np.array(["c1" in smiles for smiles in plain.smiles])
    sure, unsure = (
        read_pool(sources, unsure=Fixed(plain, 4, np.where(acids, weight, 1.0))) for weight in (0.001, 1000.0)
    )
    assert not acids[choose(sure, 1, seed=0).rows].any() and acids[choose(unsure, 1, seed=0).rows].all()
    assert 4 not in choose(unsure, len(plain.smiles) - 1, seed=0).rows
    with pytest.raises(UsageError, match="holds 6 molecules that the student has no label of, not 7"):
        choose(unsure, 7, seed=0)
    kept = keep_columns(sources, ["none"])
    write(choose(unsure, 1, seed=0), unsure, sources, kept, tmp_path / "chosen.csv")
    written = pandas.read_csv(tmp_path / "chosen.csv")
    assert (written["uncertainty"] > 1).tolist() == acids.tolist()


def test_what_is_near_a_labelled_molecule_is_covered_already(tmp_path: Path) -> None:
    (tmp_path / "library.smi").write_text("\n".join([*ALCOHOLS, *ACIDS]) + "\n")
    sources = resolve([str(tmp_path / "library.smi")])
    plain = read_pool(sources)
    for labelled, acid in ((0, True), (4, False)):
        pool = read_pool(sources, unsure=Fixed(plain, labelled, np.ones(len(plain.smiles))))
        chosen = choose(pool, 1, seed=0)
        assert ("c1" in plain.smiles[chosen.rows[0]]) == acid
        assert chosen.coverage > chosen.coverage_at_random - 1e-9


def test_a_pool_holds_each_molecule_once_and_what_is_chosen_is_a_library(tmp_path: Path):
    (tmp_path / "library.smi").write_text("OCC\nCCO\nnothing\nc1ccccc1\n")
    (tmp_path / "empty.smi").write_text("nothing\n")
    sources = resolve([str(tmp_path / "library.smi")])
    pool = read_pool(sources)
    assert pool.smiles == ["CCO", "c1ccccc1"]
    kept = keep_columns(sources, ["none"])
    write(choose(pool, 2, seed=0), pool, sources, kept, tmp_path / "chosen.csv", only_chosen=True)
    assert sorted(read_pool(resolve([str(tmp_path / "chosen.csv")])).smiles) == ["CCO", "c1ccccc1"]
    with pytest.raises(UsageError, match="holds no molecule to choose"):
        read_pool(resolve([str(tmp_path / "empty.smi")]))


def test_the_nearest_is_the_one_that_rdkit_finds() -> None:
    smiles = ["CCO", "CCCO", "c1ccccc1O", "c1ccccc1N", "CC(=O)Oc1ccccc1C(=O)O", "C1CCNCC1", "[Na+]"]
    mols = [MolFromSmiles(each) for each in smiles]
    fingerprints, known = fingerprints_of(mols), Neighbours.of(packed_of(mols[2:]))
    similarity, place = known.nearest(packed_of(mols))
    for row, fingerprint in enumerate(fingerprints):
        alike = tanimoto(fingerprint, fingerprints[2:])
        assert np.array_equal(known.similarity(packed_of(mols)[row]), alike)
        assert (similarity[row], place[row]) == (alike.max(), alike.argmax())
