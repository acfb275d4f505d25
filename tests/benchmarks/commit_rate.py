"""How many records a second one client process commits durably, and what a record takes in Redis.

    python -m tests.benchmarks.commit_rate [--records 50000] [--batch 256] [--json]

The embedded Redis syncs its append-only file before every answer. Each record holds a text of about 300 tokens, out of
real ones that an LLM wrote about molecules, and its whole provenance. Packing is part of the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from cluster.store.open import open_store
from cluster.store.record import Record
from cluster.store.store import Row, Store
from teacher.chemistry.molecule import key_of
from teacher.llm.validation import Grounding
from tests.support.data import SHARED_DATA
from tests.support.machine import machine

TEXT_CHARACTERS = 1_200  # about 300 tokens of English
SPEC, RUN = "0123456789abcdef", "20260101-000000-abcd"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    records = [_record(number, text) for number, text in enumerate(islice(cycle(_texts()), arguments.records))]
    with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        empty, _ = store.memory()
        rates, cpu = _commit_all(store, records, arguments.batch)
        full, _ = store.memory()
        file = (Path(folder) / "appendonly.aof").stat().st_size
    result = {
        "records_per_second": round(statistics.median(rates)),
        "client_cpu_us_per_record": round(cpu / len(records) * 1e6, 1),
        "records": arguments.records,
        "batch": arguments.batch,
        "text_characters": round(statistics.mean(len(record.text) for record in records)),
        "packed_bytes": round(statistics.mean(len(record.pack()) for record in records)),
        "redis_bytes_per_record": round((full - empty) / len(records)),
        "append_only_bytes_per_record": round(file / len(records)),
        "machine": machine(),
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


def _commit_all(store: Store, records: list[Record], batch: int) -> tuple[list[float], float]:
    """Commit all records; return the rates over stretches of ten batches, and the client's CPU seconds."""
    rates = []
    cpu = 0.0
    for start in range(0, len(records), 10 * batch):
        stretch = records[start : start + 10 * batch]
        keys = [key_of(record.smiles) for record in stretch]
        store.register(SPEC, RUN, [Row(key, 0, start + number) for number, key in enumerate(keys)])
        store.claim(SPEC, RUN, keys, "claim")
        store.hand(SPEC, RUN, [(key, "claim") for key in keys])
        outcomes = list(zip(keys, stretch, strict=True))
        began, cpu_began = time.perf_counter(), time.process_time()
        for first in range(0, len(outcomes), batch):
            part = outcomes[first : first + batch]
            store.commit(SPEC, RUN, part, [(500, 300)] * len(part))
        rates.append(len(stretch) / (time.perf_counter() - began))
        cpu += time.process_time() - cpu_began
    return rates, cpu


def _texts() -> list[str]:
    lines = (SHARED_DATA / "text" / "clintox_gpt35.jsonl").read_text().splitlines()
    whole = " ".join(json.loads(line)["text"] for line in lines)
    return [whole[start : start + TEXT_CHARACTERS] for start in range(0, len(whole) - TEXT_CHARACTERS, TEXT_CHARACTERS)]


def _record(number: int, text: str) -> Record:
    return Record(
        smiles=f"CC(C)Cc1ccc(cc1)C(C)C(=O)N{'C' * (number % 20)}.[{number}H]",
        text=text,
        finish_reason="stop",
        prompt_tokens=512,
        completion_tokens=301,
        grounding=Grounding(precision=0.6667, recall=0.5, f1=0.5714285714285714, rings=0.5, score=0.5357142857142857),
        attempts=1,
        seed=0,
        temperature=0.0,
        max_tokens=400,
        seconds=1.2345,
        run=RUN,
        software="0123456789ab",
        time=round(time.time(), 3),
    )


if __name__ == "__main__":
    if not SHARED_DATA.is_dir():
        sys.exit(f"the data for tests and benchmarks is not at {SHARED_DATA}")
    main()
