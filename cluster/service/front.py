"""A replica that answers requests: from the store where it can, through an annotator or a predictor where it must."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cluster.metrics import SERVICE_MOLECULES, SERVICE_QUEUED, SERVICE_SECONDS
from cluster.runs.run import ALIVE_SECONDS
from cluster.runtime.errors import first_of_ours
from cluster.runtime.logs import log_in_worker, ray_log_folder
from cluster.service.errors import BusyError, RequestError, UnavailableError
from cluster.service.known_molecules import KnownMolecules
from cluster.service.predicting import Prediction
from cluster.service.single_flight import SingleFlight
from cluster.service.stored_answers import StoredAnswers
from cluster.store.connection import StoreError
from cluster.store.record import DeadLetter, Record
from teacher.chemistry.molecule import InvalidMoleculeError
from teacher.chemistry.parsing import Parsed
from teacher.errors import GallonError
from teacher.wording import counted

logger = logging.getLogger(__name__)

RUN = "service"  # the tag of what the fronts count, who belong to no run
HELD_SECONDS = 1.5 * ALIVE_SECONDS  # that a molecule in another run's hands is waited for: longer than a dead run's are
LOOK_SECONDS = 0.5
DEATHS = 8  # of annotators that a request outlives
INVALID_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """How a front answers.

    Attributes:
        store_url, spec_id: the Redis, and the spec of the annotations; None where nothing is described.
        token_digest: of the token that is asked for; None where none is.
        queue: molecules that may be on their way to annotators at a time, as many to predictors, and in a request.
        log_level: what `worker_level` returned in the driver.
    """

    store_url: str | None = field(repr=False)
    spec_id: str | None
    token_digest: str | None = field(default=None, repr=False)
    queue: int = 256
    log_level: int = logging.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a molecule: a record, or a dead letter that says why there is none.

    Attributes:
        smiles: as it was asked for.
        spec: id of the spec that decides the record.
        stored: whether the answer was in the store before.
        record: the accepted annotation.
        dead_letter: why the molecule could not be annotated; 'gallon dead --retry' has it tried again.
    """

    smiles: str
    spec: str
    stored: bool
    record: Record | None = None
    dead_letter: DeadLetter | None = None


class Front:
    """Answers requests, in one event loop.

    Attributes:
        settings: how.
        describes, predicts: what it is asked for.

    Args:
        settings: how.
        annotators: handle of the annotators' deployment; None where the service describes nothing.
        predictors: handle of the predictors' deployment; None where it predicts nothing.
    """

    def __init__(self, settings: FrontSettings, annotators: Any, predictors: Any) -> None:
        log_in_worker(ray_log_folder(), "service", settings.log_level)
        self.settings = settings
        self.describes, self.predicts = annotators is not None, predictors is not None
        self._annotators, self._predictors = annotators, predictors
        self._spec_id = settings.spec_id or ""
        if settings.store_url:
            self._answers = StoredAnswers(settings.store_url, self._spec_id)
        self._flights = SingleFlight[None]()
        self._predicting = 0  # molecules
        self._molecules = KnownMolecules()

    async def describe(self, texts: Sequence[str]) -> list[Answer]:
        """Describe molecules, in their order.

        Args:
            texts: SMILES.

        Raises:
            RequestError: one of them is no molecule, or they are too many.
            BusyError: too many others are on their way.
            UnavailableError: there is no annotator, or another run holds a molecule.
            StoreError: the store cannot be reached.
        """
        begun = time.monotonic()
        molecules = await self._parsed(texts)
        stored = await self._answers.read([molecule.key for molecule in molecules])
        missing = {molecule.key: molecule.smiles for molecule in molecules if molecule.key not in stored}
        made = await self._made(missing) if missing else {}
        kind = "new" if missing else "stored"
        SERVICE_SECONDS.observe(time.monotonic() - begun, run=RUN, kind=kind)
        SERVICE_MOLECULES.add(len(made), run=RUN, kind="new")
        SERVICE_MOLECULES.add(len(molecules) - len(made), run=RUN, kind="stored")
        return [
            self._answer(text, stored.get(molecule.key) or made[molecule.key], stored=molecule.key in stored)
            for text, molecule in zip(texts, molecules, strict=True)
        ]

    async def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict molecules by the saved model, in their order.

        Raises:
            RequestError: one of them is no molecule, or they are too many.
            BusyError: too many others are being predicted.
            UnavailableError: there is no predictor now.
        """
        begun = time.monotonic()
        await self._parsed(texts)
        self._refuse_beyond_queue(self._predicting, len(texts), "predicted")
        self._predicting += len(texts)
        try:
            predicted: list[Prediction] = await self._called(lambda: self._predictors.predict.remote(list(texts)))
        finally:
            self._predicting -= len(texts)
        SERVICE_SECONDS.observe(time.monotonic() - begun, run=RUN, kind="predicted")
        SERVICE_MOLECULES.add(len(predicted), run=RUN, kind="predicted")
        return predicted

    async def check_ready(self) -> None:
        """Return where requests can be answered now.

        Raises:
            StoreError: the store gives no sign of life.
        """
        if self.settings.store_url:
            await self._answers.check()

    async def _parsed(self, texts: Sequence[str]) -> list[Parsed]:
        """Parse the SMILES of a request.

        Raises:
            RequestError: one of them is no molecule, or they are too many.
        """
        if not 0 < len(texts) <= self.settings.queue:
            raise RequestError(
                f"'smiles' holds {counted(len(texts), 'molecule')}, and a request 1 to {self.settings.queue:,} "
                "(--queue): send more in several requests, or annotate a library by 'gallon annotate'."
            )
        found = await self._molecules.parse(texts)
        invalid = [
            f"{text!r:.100} {reason}"
            for text, reason in zip(texts, found, strict=True)
            if isinstance(reason, InvalidMoleculeError)
        ]
        if invalid:
            more = f"; {counted(len(invalid) - INVALID_SHOWN, 'other')} too" if len(invalid) > INVALID_SHOWN else ""
            raise RequestError(f"No molecule: {'; '.join(invalid[:INVALID_SHOWN])}{more}.")
        return [molecule for molecule in found if isinstance(molecule, Parsed)]

    async def _made(self, missing: Mapping[bytes, str]) -> dict[bytes, Record | DeadLetter]:
        """Have molecules annotated, and return what the store then has about them."""
        new = sum(key not in self._flights for key in missing)
        self._refuse_beyond_queue(len(self._flights), new, "annotated")
        calls = [self._flights.share(key, partial(self._annotated, key, smiles)) for key, smiles in missing.items()]
        try:
            SERVICE_QUEUED.set(len(self._flights), run=RUN)
            await asyncio.gather(*calls)
        finally:
            SERVICE_QUEUED.set(len(self._flights), run=RUN)
        made = await self._answers.read(list(missing))
        if len(made) < len(missing):
            raise UnavailableError("The store has lost what was annotated just now: ask again.")
        return made

    def _refuse_beyond_queue(self, here: int, new: int, done: str) -> None:
        if here + new > self.settings.queue:
            raise BusyError(
                f"{counted(here, 'molecule')} of at most {self.settings.queue:,} are being {done} here: "
                "ask again later."
            )

    async def _annotated(self, key: bytes, smiles: str) -> None:
        """Have a molecule annotated; one that another run holds is waited for."""
        until = time.monotonic() + HELD_SECONDS
        while not await self._called(lambda: self._annotators.describe.remote(key, smiles)):
            if time.monotonic() > until:
                raise UnavailableError(f"Another run is annotating {smiles:.100}: ask again later.")
            await asyncio.sleep(LOOK_SECONDS)

    async def _called(self, call: Any) -> Any:
        """Call another deployment; where the replica that was asked dies, the next one is.

        Raises:
            StoreError: the store failed there.
            UnavailableError: it fails otherwise, or there is none any more.
        """
        from ray.exceptions import RayActorError, RayError
        from ray.serve.exceptions import RayServeException

        deaths = 0
        while True:
            try:
                return await call()
            except RayActorError as error:
                deaths += 1
                logger.warning("a replica died over a request (%d. time): %s", deaths, error)
                if deaths == DEATHS:
                    raise UnavailableError("Workers die again and again: ask again later.") from error
                await asyncio.sleep(LOOK_SECONDS)
            except RayServeException as error:
                raise UnavailableError("The service is being stopped.") from error
            except RayError as error:
                cause = first_of_ours(error)
                if isinstance(cause, StoreError):
                    raise cause from error
                if isinstance(cause, GallonError):  # in words for who runs the service
                    logger.warning("a replica cannot answer: %s", cause)
                    raise UnavailableError("The service's workers fail: ask again later; its log says why.") from error
                raise

    def _answer(self, text: str, found: Record | DeadLetter, *, stored: bool) -> Answer:
        record = found if isinstance(found, Record) else None
        letter = found if isinstance(found, DeadLetter) else None
        return Answer(smiles=text, spec=self._spec_id, stored=stored, record=record, dead_letter=letter)
