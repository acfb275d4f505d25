"""A student that reads the text of a SMILES and needs no RDKit: linear in hashed n-grams, distilled from a student.

It says what the full student would, roughly, at a fiftieth of the cost of parsing: enough to tell which molecules of a
large library are not worth the full student's time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.features.ngrams import BITS, COLUMNS, LONGEST, Texts
from teacher.files import replacing
from teacher.provenance import installed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

logger = logging.getLogger(__name__)

AT_A_TIME = 1_024  # texts
PENALTIES = (10.0, 100.0, 1000.0)  # of ridge regression, on the scale of standardised values
HELD_OUT = 0.2  # of the molecules: the penalty is chosen on one half, recall measured on the other
TOP = 0.01  # of the molecules, which are to be found again
VERSION = 3
ROUNDING = 1e-6  # of a share in a card
SCALES = ("bias", "means", "deviations")  # float32, beside the weights


@dataclass(frozen=True, slots=True, eq=False)
class NGramStudent:
    """A linear model of the n-grams of a SMILES: of how many there are, and of what share they have of its length.

    It says values in units of their standard deviation, from their mean, so that half precision has room for its
    weights whatever the unit of a target is.

    Attributes:
        weights: float32, (2, T, COLUMNS + 1): of numbers and of shares; the last column is of no n-gram, and is 0.
        bias: float32, (T,).
        means, deviations: float32, (T,): of the values that were learned from.
        card: what it is and how good: of which model and library, learned from how many molecules, R², and what share
            of a library has to be kept for each of its best to be found (`shares_that_find`).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    card: Mapping[str, Any]

    def score(self, smiles: Sequence[bytes]) -> NDArray[np.float32]:
        """Return what the model it was distilled from would say, roughly: (N, T); logits of classes."""
        parts = [self._score(smiles[start : start + AT_A_TIME]) for start in range(0, len(smiles), AT_A_TIME)]
        return np.concatenate([np.zeros((0, len(self.bias)), dtype=np.float32), *parts])

    def _score(self, smiles: Sequence[bytes]) -> NDArray[np.float32]:
        texts = Texts.of(smiles)
        tables = self.weights.reshape(-1, COLUMNS + 1)
        sums = np.zeros((len(tables), len(texts.left)), dtype=np.float32)
        for columns in texts.columns():
            for number, table in enumerate(tables):
                sums[number] += table.take(columns)
        numbers, shares = np.add.reduceat(sums.reshape(2, len(self.bias), -1), texts.firsts, axis=2)
        standardised = (numbers + shares / texts.lengths.astype(np.float32)).T + self.bias
        scores: NDArray[np.float32] = standardised * self.deviations + self.means
        return scores

    def save(self, file: Path) -> None:
        """Write it into a file; half the digits are enough.

        Raises:
            OutputError: it cannot be written.
        """
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in SCALES}
        arrays["weights"] = self.weights.astype(np.float16)
        with replacing(file) as aside:
            aside.write_bytes(save(arrays, metadata={"card": json.dumps(dict(self.card))}))

    @classmethod
    def load(cls, file: Path, facts: Mapping[str, Any]) -> NGramStudent | None:
        """Return what a file holds; None if it is not there, damaged, or of another model or library.

        Args:
            file: that `save` wrote.
            facts: that `distilled` should have been given.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "numpy") as opened:
                card = json.loads(opened.metadata()["card"])
                weights = opened.get_tensor("weights").astype(np.float32)
                bias, means, deviations = (opened.get_tensor(name) for name in SCALES)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        wanted = {**facts, "version": VERSION}
        if {name: card.get(name) for name in wanted} != wanted or weights.shape[2:] != (COLUMNS + 1,):
            return None
        return cls(weights, bias, means, deviations, card)

    @classmethod
    def distilled(
        cls, smiles: Sequence[bytes], values: NDArray[np.float32], facts: Mapping[str, Any], seed: int = 0
    ) -> NGramStudent:
        """Learn what a model says of molecules.

        Args:
            smiles: of N molecules, at least 100, each once: one that also teaches would judge too kindly.
            values: (N, T), what the model says of them; logits of classes.
            facts: what else its card says: the digest of the model, and of which library the molecules are.
            seed: of the parts.
        """
        order = np.random.default_rng(seed).permutation(len(smiles))
        first = int(len(order) * (1 - HELD_OUT))
        train, valid, test = np.split(order, [first, (first + len(order)) // 2])
        grams = _matrix(smiles)
        lengths = np.fromiter(map(len, smiles), dtype=np.float32, count=len(smiles)) + 1
        exact = values.astype(np.float64)  # whose squares float32 may have no room for
        means, deviations = exact[train].mean(axis=0), exact[train].std(axis=0)
        deviations[deviations == 0] = 1.0
        standardised = ((exact - means) / deviations).astype(np.float32)
        fitted = [_ridge(grams, lengths, column, train, valid) for column in standardised.T]
        weights = np.zeros((2, values.shape[1], COLUMNS + 1), dtype=np.float32)
        for target, (coefficients, _) in enumerate(fitted):
            weights[:, target, :COLUMNS] = coefficients
        bias = np.array([intercept for _, intercept in fitted], dtype=np.float32)
        halved = weights.astype(np.float16).astype(np.float32)
        learnt = cls(halved, bias, means.astype(np.float32), deviations.astype(np.float32), {})
        said = learnt.score([smiles[row] for row in test])
        card = {
            **facts,
            "version": VERSION,
            "n-grams": f"1 to {LONGEST} characters, hashed to {BITS} bits",
            "molecules": len(train),
            "held_out": len(test),
            "r2": [round(_r2(said[:, target], column[test]), 4) for target, column in enumerate(values.T)],
            "found_at": [shares_that_find(said[:, target], column[test]) for target, column in enumerate(values.T)],
            "versions": installed(("gallon", "numpy", "scipy", "scikit-learn")),
        }
        logger.info("an n-gram student is distilled: %s", card)
        return replace(learnt, card=card)


def shares_that_find(said: NDArray[np.float32], values: NDArray[np.float32]) -> dict[str, list[float]]:
    """Return what share of the molecules has to be kept for each of those with the best values to be among them.

    Args:
        said: (N,), by which they are kept.
        values: (N,), of which the best are to be found.

    Returns:
        For "highest" and "lowest" values a share for each of the top 1 %, ascending.
    """
    found: dict[str, list[float]] = {}
    best = max(1, round(len(values) * TOP))
    for name, sign in (("highest", -1), ("lowest", 1)):
        wanted = np.argsort(sign * values, kind="stable")[:best]
        ranks = np.empty(len(said), dtype=np.int64)
        ranks[np.argsort(sign * said, kind="stable")] = np.arange(1, len(said) + 1)
        found[name] = [round(share, 6) for share in sorted((ranks[wanted] / len(said)).tolist())]
    return found


def recall(found_at: Sequence[float], kept: float) -> float:
    """Return how many of the best are among those that are kept, a share of all, by what `shares_that_find` tells."""
    return float(np.mean(np.asarray(found_at) <= kept + ROUNDING))


def _matrix(smiles: Sequence[bytes]) -> csr_array:
    """Return how often each text has each n-gram, float32, (N, COLUMNS)."""
    from scipy import sparse

    parts = []
    for start in range(0, len(smiles), AT_A_TIME):
        texts = Texts.of(smiles[start : start + AT_A_TIME])
        columns = np.concatenate(list(texts.columns()))
        rows = np.tile(np.repeat(np.arange(len(texts.firsts)), texts.lengths), LONGEST)
        there = columns < COLUMNS
        cells = (rows[there], columns[there].astype(np.int32))
        ones = np.ones(len(cells[0]), dtype=np.float32)
        parts.append(sparse.csr_array((ones, cells), shape=(len(texts.firsts), COLUMNS)))
    return sparse.vstack(parts).tocsr()


def _ridge(
    grams: csr_array,
    lengths: NDArray[np.float32],
    values: NDArray[np.float32],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
) -> tuple[NDArray[np.float32], float]:
    """Return the weights of numbers and shares, (2, COLUMNS), and the intercept, of the penalty that validates best.

    Values are standardised.
    """
    from scipy import sparse
    from sklearn.linear_model import Ridge

    usual = float(lengths[train].mean())  # so that shares are about as large as numbers
    both = sparse.hstack([grams, sparse.diags_array(usual / lengths) @ grams]).tocsr().astype(np.float32)
    best: tuple[float, Any] | None = None
    for penalty in PENALTIES:
        ridge = Ridge(alpha=penalty, solver="lsqr", tol=1e-3).fit(both[train], values[train])
        score = _r2(ridge.predict(both[valid]), values[valid])
        if best is None or score > best[0]:
            best = score, ridge
    assert best is not None
    coefficients = best[1].coef_.reshape(2, COLUMNS)
    coefficients[1] *= usual
    return coefficients.astype(np.float32), float(best[1].intercept_)


def _r2(said: NDArray[np.float32], values: NDArray[np.float32]) -> float:
    exact = values.astype(np.float64)
    spread = float(((exact - exact.mean()) ** 2).mean())
    return 1 - float(((said - exact) ** 2).mean()) / spread if spread else 0.0
