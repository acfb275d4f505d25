"""Look through the records of a spec: is each what an accepted annotation must be, and made as its spec says?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.store.record import Record
from cluster.store.store import Store
from teacher.chemistry.molecule import key_of, record_key
from teacher.llm.row_columns import pack_cells
from teacher.llm.schema import SchemaError, check_schema
from teacher.llm.spec import Spec
from teacher.llm.validation import RejectedError, well_formed


@dataclass(frozen=True, slots=True)
class Defect:
    """A record that should not be there, or something about its spec; `key` names the molecule, if it is about one."""

    key: bytes | None
    message: str

    def __str__(self) -> str:
        return f"{self.key.hex()}: {self.message}" if self.key else self.message


def audit(store: Store, spec_id: str) -> Iterator[Defect]:
    """Yield all defects of a spec and its records, reading every one of them.

    The spec must hash to its id and its prompt to its digest. A record must lie under the key of its SMILES, be
    finished and valid under the prompt's schema, reach the least grounding, have been sampled as the spec says, and
    name a run of this spec and software that the store knows.

    Raises:
        StoreError: Redis failed.
    """
    spec = store.specs().get(spec_id)
    if spec is None:
        yield Defect(None, f"the store knows no spec {spec_id}")
        return
    if spec.id != spec_id:
        yield Defect(None, f"the spec that is kept under {spec_id} hashes to {spec.id}")
    prompt = store.prompt(spec)
    if prompt is not None and prompt.digest != spec.prompt.digest:
        yield Defect(None, f"the prompt that is kept under {spec.prompt.digest} hashes to {prompt.digest}")
    schema = prompt.json_schema if prompt else None
    try:
        check_schema(schema or {})
    except SchemaError as error:
        yield Defect(None, f"the schema of the prompt that is kept under {spec.prompt.digest} {error}")
        schema = {}  # by which every object is valid
    runs = {run for run, facts in store.runs().items() if facts["spec"] == spec_id}
    software: dict[str, bool] = {}
    for key, packed in store.packed_records(spec_id):
        try:
            record = Record.unpack(packed)
        except ValueError as error:
            yield Defect(key, f"cannot be read: {error}")
            continue
        if record.software not in software:
            software[record.software] = _is_old_import(record, spec) or bool(store.software(record.software))
        for message in _defects(key, record, spec, schema):
            yield Defect(key, message)
        if record.run not in runs:
            yield Defect(key, f"names the run {record.run}, which this spec had not")
        if not software[record.software]:
            yield Defect(key, f"names the software {record.software}, which the store does not know")


def _is_old_import(record: Record, spec: Spec) -> bool:
    """Tell whether an older gallon imported a record, and kept nothing of the software but this word."""
    return spec.sampling is None and record.software == "imported"


def _defects(key: bytes, record: Record, spec: Spec, schema: dict[str, object] | None) -> Iterator[str]:
    if record_key(key_of(record.smiles), pack_cells(record.columns)) != key:
        yield f"is about another molecule: {record.smiles}"
    if record.grounding.score < spec.min_grounding:
        yield f"has the grounding {record.grounding.score:.2f}, below {spec.min_grounding:.2f}"
    # Of annotations made elsewhere (no sampling) it may be unknown how they ended.
    finish_reason = record.finish_reason if spec.sampling else "stop"
    try:
        well_formed(record.text, finish_reason, schema)
    except RejectedError as error:
        yield f"should not have been accepted: {json.dumps(str(error))}"
    if spec.sampling and not _sampled_as(record, spec):
        yield "was sampled in another way than its spec says"


def _sampled_as(record: Record, spec: Spec) -> bool:
    """Tell whether a record's sampling is a rung of the spec's ladder."""
    assert spec.sampling is not None
    steps, cut_off = record.seed - spec.sampling.seed, record.max_tokens > spec.sampling.max_tokens
    attempts = {steps}  # of one answer; of several, too, before those of an attempt had seeds of their own
    if steps % spec.answers == 0:
        attempts.add(steps // spec.answers)
    rungs = [spec.sampling.retry_sampling(attempt, cut_off) for attempt in attempts]
    return (record.temperature, record.max_tokens) in [(rung.temperature, rung.max_tokens) for rung in rungs]
