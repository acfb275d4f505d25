"""TabPFN (Hollmann et al., Nature 2025, 637, 319): a transformer pre-trained on tables, asked about descriptors.

It learns nothing of a table: the labelled rows are part of what it reads, and the answers for others come out of one
pass over all of them. Fingerprints are left out, since it was made for some hundreds of columns.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from threading import Event
from typing import TYPE_CHECKING, Any

from distill.data.cells import Kind
from distill.evaluate.baselines.baseline import Examples, Settings
from distill.evaluate.baselines.per_target import OnePerTarget
from distill.features.environments import FINGERPRINT_BITS
from distill.features.pretrained.tabpfn import tabpfn_weights
from teacher.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from optuna import Trial


def fit_tabpfn(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> OnePerTarget:
    """Keep the training part, one table a target, for TabPFN to read.

    Args:
        train: what is read beside the rows in question, as `fingerprint_features` describes them.
        valid: not looked at.
        kind: what all targets are.
        settings: `n_estimators`, passes over differently transformed tables, whose mean is the answer;
            `softmax_temperature`, below 1 for surer answers.
        seed: of the transformations.

    Raises:
        UsageError: the weights are missing, or cannot be read as tensors and plain values.
    """
    from safetensors import SafetensorError

    def learn(examples: Examples, held_out: Examples, stop: Event) -> Any:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        weights = tabpfn_weights("regressor" if kind == "regression" else "classifier")
        model = make_pipeline(FunctionTransformer(_descriptors), _model(kind, weights, settings, seed))
        try:
            return model.fit(examples.inputs, examples.labels)
        except (SafetensorError, UnpicklingError) as error:
            raise UsageError(f"TabPFN's weights in {weights} cannot be read: download them again.") from error

    return OnePerTarget.fit(learn, train, valid, kind)


def tabpfn_space(trial: Trial) -> dict[str, Any]:
    """Return settings for an Optuna trial."""
    return {
        "n_estimators": trial.suggest_int("n_estimators", 4, 16),
        "softmax_temperature": trial.suggest_float("softmax_temperature", 0.7, 1.0),
    }


def _model(kind: Kind, weights: Path, settings: Settings, seed: int) -> Any:
    from tabpfn import TabPFNClassifier, TabPFNRegressor

    model = TabPFNRegressor if kind == "regression" else TabPFNClassifier
    return model(
        model_path=weights,
        random_state=seed,
        ignore_pretraining_limits=True,  # of a thousand rows on a CPU, say: it is slow then
        **settings,
    )


def _descriptors(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return inputs[:, FINGERPRINT_BITS:]
