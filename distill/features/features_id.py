"""By which code and which RDKit a molecule became numbers: what was computed by others is neither read nor asked."""

from __future__ import annotations

# Raise it whenever the same molecule comes out as other numbers: fingerprints, descriptors, surroundings of atoms, the
# estimate of Crippen's values (`distill.data`), or graphs (`teacher.nn.graphs`).
VERSION = 2


def features_id() -> str:
    """Return the id that stands in caches of features, in ids of fits and baselines, and in cards of models."""
    import rdkit

    return f"{VERSION}-rdkit-{rdkit.__version__}"
