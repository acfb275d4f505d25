"""Molecules as rows of numbers: Morgan fingerprints, RDKit's descriptors, surroundings of atoms, and their scale.

Descriptors come in sets, since they may cost far more than the molecule they describe. RDKit parses a molecule of
Lipo in 0.14 ms and makes its fingerprint in 0.05 ms; all its 217 descriptors take 8 to 15 ms, and no few of them are to
blame (the dearest, `qed`, is a sixth). The fast properties of `estimated` take 0.03 ms, the charges that `lean` has
beside them 0.02. Crippen's logP and refractivity would take 0.24 and are estimated (`distill.features.crippen`):
students do not miss the exact ones (`tests/benchmarks/descriptors.py`). XGBoost beside counts, scaffold split,
validation and test part, `lean` with the exact ones:

|  | ESOL, RMSE | Lipo, RMSE | BBBP, ROC-AUC |
|---|---|---|---|
| `lean` | 0.94, 0.84 | 0.78, 0.76 | 0.95, 0.71 |
| `estimated` | 0.97, 0.87 | 0.79, 0.75 | 0.95, 0.72 |
| `none` | 1.19, 1.23 | 0.85, 0.81 | 0.94, 0.69 |

`all` is about what `lean` is (ESOL, test 0.86; BBBP, test 0.70).

A student reads `surroundings` as well: the few that many molecules have, each on one scale. Students on `lean` (with
the exact ones) without and with them, scaffold split, means of two to four seeds, validation and test part:

|  | ESOL, RMSE | Lipo, RMSE | BBBP, ROC-AUC |
|---|---|---|---|
| without | 0.877, 0.814 | 0.761, 0.725 | 0.966, 0.680 |
| with | 0.836, 0.792 | 0.708, 0.709 | 0.972, 0.698 |
| without, on `all` | 0.821, 0.782 | 0.707, 0.698 | 0.966, 0.710 |
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from distill.features import crippen
from distill.features.environments import FINGERPRINT_BITS, Environments
from teacher.errors import UsageError
from teacher.processes import process_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

DescriptorSet = Literal["all", "lean", "estimated", "none"]
DESCRIPTOR_SETS: tuple[DescriptorSet, ...] = get_args(DescriptorSet)
CRIPPEN_ESTIMATED: frozenset[DescriptorSet] = frozenset({"lean", "estimated"})  # beside the fast properties

Molecule = TypeVar("Molecule")  # as RDKit has it, or as SMILES
Number = TypeVar("Number", bound=np.generic)

# What of RDKit's C++ property table needs a search over paths or substructures, and with it most of the table's time.
SLOW_PROPERTIES = frozenset(
    {
        *("NumRotatableBonds", "NumHBA", "CrippenClogP", "CrippenMR"),
        *("chi2v", "chi3v", "chi4v", "chi2n", "chi3n", "chi4n", "kappa2", "kappa3", "Phi"),
    }
)
PEOE_BINS = 14

SURROUNDING_RADII = (0, 1)
SURROUNDINGS = 1024  # columns of each radius

CLIP = 5.0  # standard deviations
RARE = 0.05  # share of the training molecules that a column must speak of to be standardised
COLUMNS_AT_A_TIME = 256  # of which mean and deviation are computed, in float64
CHUNK = 256  # molecules that a process takes at a time


def descriptor_set(name: str) -> DescriptorSet:
    """Return the set of descriptors of a name.

    Raises:
        UsageError: there is none.
    """
    for known in DESCRIPTOR_SETS:
        if known == name:
            return known
    raise UsageError(f"There are no descriptors '{name}': choose one of {', '.join(DESCRIPTOR_SETS)}.")


def ecfp(mols: Sequence[Mol]) -> NDArray[np.uint8]:
    """Return ECFP4 (Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742) as uint8 of shape (N, 2048): 0 and 1."""
    bits = np.empty((len(mols), FINGERPRINT_BITS), dtype=np.uint8)
    for rows in _chunks(len(mols)):
        bits[rows] = Environments.of(mols[rows]).bits()
    return bits


def fingerprint_features(
    mols: Sequence[Mol], descriptors: DescriptorSet = "all", workers: int = 1
) -> NDArray[np.float32]:
    """Return counted Morgan fingerprints beside descriptors, float32 of shape (N, 2048 + D).

    A count c stands as log(1 + c): presence against absence stays the largest step, long chains do not dwarf the rest,
    and, unlike with clipping, a larger molecule still looks larger. Trees see no difference.

    Descriptors are NaN where RDKit computes none (partial charges of a metal, say); `Scaler` puts the mean there, and
    XGBoost takes them as missing. There are no infinities. `Ipc`, which grows exponentially with the molecule, stands
    as log(1 + Ipc).

    Args:
        mols: N molecules.
        descriptors: `all` 217 of RDKit's `Descriptors.descList`, the `lean` 46, the `estimated` 32, or `none`.
        workers: processes to share the work. Descriptors take milliseconds a molecule, a process a second to start.
    """
    return in_chunks(functools.partial(_fingerprint_features, descriptors=descriptors), mols, workers)


def student_features(mols: Sequence[Mol], descriptors: DescriptorSet, workers: int = 1) -> NDArray[np.float32]:
    """Return what a student reads: `fingerprint_features` and behind them `surroundings`, float32 of shape (N, F)."""
    return in_chunks(functools.partial(_student_features, descriptors=descriptors), mols, workers)


def surroundings(mols: Sequence[Mol]) -> NDArray[np.float32]:
    """Return how often a molecule has each kind of atom, alone and with its neighbours: float32 of shape (N, 2 * 1024).

    A count c stands as log(1 + c). They are the small circles of a Morgan fingerprint, not yet mixed with the large.
    """
    counts = np.empty((len(mols), len(SURROUNDING_RADII) * SURROUNDINGS), dtype=np.float32)
    for rows in _chunks(len(mols)):
        counts[rows] = _surroundings(Environments.of(mols[rows]))
    return counts


def counts_and_properties(mols: Sequence[Mol]) -> NDArray[np.float32]:
    """Return what `crippen.estimate` reads: counts of a Morgan fingerprint, and behind them the fast properties."""
    describe = describer("estimated")
    features = np.empty((len(mols), FINGERPRINT_BITS + len(_fast_properties())), dtype=np.float32)
    for rows in _chunks(len(mols)):
        features[rows, :FINGERPRINT_BITS] = Environments.of(mols[rows]).counts()
        features[rows, FINGERPRINT_BITS:] = _described(mols[rows], describe)
    return features


def described(mols: Sequence[Mol], environments: Environments, descriptors: DescriptorSet) -> NDArray[np.float32]:
    """Return the descriptors of molecules, float32 of shape (N, D), NaN where there is none.

    Args:
        mols: N molecules.
        environments: theirs.
        descriptors: which.
    """
    return completed(_described(mols, describer(descriptors)), environments, descriptors)


def completed(
    values: NDArray[np.float32], environments: Environments, descriptors: DescriptorSet
) -> NDArray[np.float32]:
    """Return the descriptors of molecules, as `described` does, of what `describer` has computed of each."""
    if descriptors in CRIPPEN_ESTIMATED:
        values = np.concatenate([values, crippen.estimate(environments, values)], axis=1)
    values[~np.isfinite(values)] = np.nan
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Scaler:
    """The scale of the features of a training set.

    Columns that are constant there are dropped: a weight on them would never be trained. Fingerprint columns stay as
    they are. Others are centred, divided by their standard deviation and clipped to five of them, so that one odd
    molecule cannot drive a linear layer; a missing one becomes the mean, 0. Of these, columns that are zero for nearly
    all molecules (`RARE`) are dropped, too.

    Attributes:
        keep: int64, the K columns out of F that are kept, ascending.
        mean: float32 of shape (K,), 0 for fingerprint columns.
        std: float32 of shape (K,), 1 for fingerprint columns.
    """

    keep: NDArray[np.int64]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.float32], fingerprint_bits: int = FINGERPRINT_BITS) -> Scaler:
        """Learn the scale from the training rows.

        Args:
            features: (N, F) as `fingerprint_features` makes them, of training molecules only.
            fingerprint_bits: how many columns, from the first, are a fingerprint.
        """
        blocks = np.array_split(features, max(1, math.ceil(features.shape[1] / COLUMNS_AT_A_TIME)), axis=1)
        mean, std, share = (np.concatenate(parts) for parts in zip(*map(_spread, blocks), strict=True))
        frequent = share >= RARE
        frequent[:fingerprint_bits] = True
        keep = np.flatnonzero(frequent & (std > 1e-6 * np.maximum(1, np.abs(mean))))
        bits = keep < fingerprint_bits
        return cls(
            keep.astype(np.int64),
            np.where(bits, 0, mean[keep]).astype(np.float32),
            np.where(bits, 1, std[keep]).astype(np.float32),
        )

    def transform(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features (N, F) on the scale of the training set, float32 of shape (N, K), all finite."""
        return self.scaled(features[:, self.keep], slice(None))

    def scaled(self, values: NDArray[np.float32], columns: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Return values on the scale of the training set.

        Args:
            values: of any shape whose last axis, or all of it, fits the columns.
            columns: which of the K that are kept each value stands in.
        """
        scaled = (values - self.mean[columns]) / self.std[columns]
        return np.nan_to_num(np.clip(scaled, -CLIP, CLIP), copy=False, nan=0.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` takes, to be saved as safetensors."""
        return {"keep": self.keep, "mean": self.mean, "std": self.std}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Scaler:
        """Return the scaler that `arrays` wrote down."""
        return cls(arrays["keep"], arrays["mean"], arrays["std"])


def _spread(
    features: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each column's mean and standard deviation where it is known, and the share of rows where it is not 0."""
    known = ~np.isnan(features)
    counts = known.sum(axis=0)
    values = np.where(known, features, 0).astype(np.float64)
    mean = values.sum(axis=0) / np.maximum(counts, 1)
    std = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(axis=0) / np.maximum(counts, 1))
    return mean, std, (values != 0).mean(axis=0)


def in_chunks(
    compute: Callable[[Sequence[Molecule]], NDArray[Number]], mols: Sequence[Molecule], workers: int
) -> NDArray[Number]:
    """Return what a function makes of molecules, computed in so many processes, a chunk at a time."""
    if workers == 1 or len(mols) <= CHUNK:
        return compute(mols)
    chunks = [mols[start : start + CHUNK] for start in range(0, len(mols), CHUNK)]
    with process_pool(min(workers, len(chunks))) as pool:
        return np.concatenate(list(pool.map(compute, chunks)))


def _student_features(mols: Sequence[Mol], descriptors: DescriptorSet) -> NDArray[np.float32]:
    around = len(SURROUNDING_RADII) * SURROUNDINGS
    features = np.empty((len(mols), FINGERPRINT_BITS + len(descriptor_names(descriptors)) + around), dtype=np.float32)
    for rows in _chunks(len(mols)):
        environments = Environments.of(mols[rows])
        features[rows, :-around] = _fingerprint(mols[rows], environments, descriptors)
        features[rows, -around:] = _surroundings(environments)
    return features


def _fingerprint_features(mols: Sequence[Mol], descriptors: DescriptorSet) -> NDArray[np.float32]:
    features = np.empty((len(mols), FINGERPRINT_BITS + len(descriptor_names(descriptors))), dtype=np.float32)
    for rows in _chunks(len(mols)):
        features[rows] = _fingerprint(mols[rows], Environments.of(mols[rows]), descriptors)
    return features


def _fingerprint(mols: Sequence[Mol], environments: Environments, descriptors: DescriptorSet) -> NDArray[np.float32]:
    return np.concatenate([np.log1p(environments.counts()), described(mols, environments, descriptors)], axis=1)


def _surroundings(environments: Environments) -> NDArray[np.float32]:
    counts = [environments.counts(radius, SURROUNDINGS) for radius in SURROUNDING_RADII]
    logarithms: NDArray[np.float32] = np.log1p(np.concatenate(counts, axis=1))
    return logarithms


def _described(mols: Sequence[Mol], describe: Callable[[Mol], Sequence[float]]) -> NDArray[np.float32]:
    return np.array([describe(mol) for mol in mols], dtype=np.float32).reshape(len(mols), -1)


def _chunks(rows: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, rows, CHUNK)]


def descriptor_names(descriptors: DescriptorSet) -> tuple[str, ...]:
    """Return what the columns behind a fingerprint are."""
    estimated = crippen.NAMES if descriptors in CRIPPEN_ESTIMATED else ()
    return (*computed_names(descriptors), *estimated)


def computed_names(descriptors: DescriptorSet) -> tuple[str, ...]:
    """Return what `describer` computes."""
    if descriptors == "all":
        from rdkit.Chem.Descriptors import descList

        return tuple(name for name, _ in descList)
    if descriptors == "none":
        return ()
    charges = [f"PEOE_VSA{place}" for place in range(1, PEOE_BINS + 1)] if descriptors == "lean" else []
    return (*_fast_properties(), *charges)


def _fast_properties() -> list[str]:
    from rdkit.Chem.rdMolDescriptors import Properties

    return [name for name in Properties.GetAvailableProperties() if name not in SLOW_PROPERTIES]


def describer(descriptors: DescriptorSet) -> Callable[[Mol], Sequence[float]]:
    """Return what computes the descriptors of a molecule, in the order of `computed_names`."""
    if descriptors == "all":
        return _all_descriptors
    if descriptors == "none":
        return lambda _mol: ()
    from rdkit.Chem.rdMolDescriptors import PEOE_VSA_, Properties

    names = _fast_properties()
    properties, places = Properties(names), range(len(names))

    def fast(mol: Mol) -> Iterable[float]:
        return map(properties.ComputeProperties(mol).__getitem__, places)  # half of what its own iterator takes

    if descriptors == "estimated":
        return lambda mol: list(fast(mol))
    return lambda mol: [*fast(mol), *PEOE_VSA_(mol)]


def _all_descriptors(mol: Mol) -> Sequence[float]:
    from rdkit.Chem.Descriptors import CalcMolDescriptors

    values: dict[str, float] = CalcMolDescriptors(mol, missingVal=np.nan, silent=True)  # type: ignore[no-untyped-call]
    values["Ipc"] = np.log1p(values["Ipc"])
    return list(values.values())
