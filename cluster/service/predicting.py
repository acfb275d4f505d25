"""A replica that predicts by a saved model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

Prediction = dict[str, float]  # the values of a molecule's targets, by their names
Predict = Callable[[Sequence[str]], list[Prediction]]  # takes SMILES


class PredictorReplica:
    """A model in memory; to be deployed by Ray Serve.

    Args:
        load: loads the model, in the replica's process.
    """

    def __init__(self, load: Callable[[], Predict]) -> None:
        self._predict = load()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    async def predict(self, molecules: Sequence[str]) -> list[Prediction]:
        """Predict SMILES that are known to be molecules, in their order."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, molecules)
