"""What Redis holds, and under which keys.

Keys (`b` is the bucket, the first byte of the molecule's key in hexadecimal; in a Redis Cluster a bucket is one slot):

    gallon:{b}:<spec>:pending    hash: molecule key -> how often an engine was lost with it, and who holds it now
    gallon:{b}:<spec>:accepted   hash: molecule key -> packed `Record`
    gallon:{b}:<spec>:dead       hash: molecule key -> packed `DeadLetter`
    gallon:{b}:run:<run>         hash: molecule key -> the row that brought it first
    gallon:{b}:run:<run>:counts  hash: what the run moved and spent
    gallon:{<run>}:rows:<i>      bitmap of the rows of source i that were read; invalid:<i> of those that are invalid,
                                 repeats:<i> of those whose molecule another row had brought
    gallon:{<run>}:workers       hash: worker -> JSON of its last `WorkerStatus` and its time
    gallon:{<run>}:whole         string: there as long as everything above is
    gallon:{<run>}:invalid       hash: "i:row" -> packed `DeadLetter` (for `LETTERS_SECONDS` after the run)
    gallon:specs, gallon:prompts, gallon:software, gallon:runs    hash: id -> JSON
    gallon:parsed:<digest>       string: the molecule keys of a stretch of library rows (for a while)
    gallon:alive                 hash: run -> JSON of its last `Heartbeat`
    gallon:id                    string: a random name of this store, by which a run knows it again

What only a run in progress needs is dropped at its end. A run that was lost has no end: its keys expire `RUN_SECONDS`
after they were made, or were last renewed by it or by whoever found it lost. A run that only seemed dead loses nothing.
"""

from __future__ import annotations

STATES = ("accepted", "dead", "pending")
BUCKETS = [f"{number:02x}" for number in range(256)]

DAY_SECONDS = 24 * 3600
PARSED_SECONDS = 60 * DAY_SECONDS
LETTERS_SECONDS = 30 * DAY_SECONDS
RUN_SECONDS = DAY_SECONDS
SOONER_SECONDS = 600  # that the sign of a run's wholeness expires before anything else of it

IDENTITY = "gallon:id"


def bucket_of(key: bytes) -> str:
    """Return the bucket of a molecule."""
    return BUCKETS[key[0]]


def of_spec(bucket: str, spec_id: str, *places: str) -> list[str]:
    """Return the hashes of a spec's molecules of a bucket: of the states that are named."""
    return [f"gallon:{{{bucket}}}:{spec_id}:{place}" for place in places]


def members_key(bucket: str, run: str) -> str:
    """Return where the molecules of a run are, of a bucket."""
    return f"gallon:{{{bucket}}}:run:{run}"


def counts_key(bucket: str, run: str) -> str:
    """Return where it is counted what a run moved and spent, in a bucket."""
    return f"gallon:{{{bucket}}}:run:{run}:counts"


def rows_key(run: str, kind: str, source: int) -> str:
    """Return the bitmap of the rows of a source that are `rows` (read), `invalid` or `repeats`."""
    return f"gallon:{{{run}}}:{kind}:{source}"


def letters_key(run: str) -> str:
    """Return where the letters of a run's invalid rows are."""
    return f"gallon:{{{run}}}:invalid"


def whole_key(run: str) -> str:
    """Return the sign that everything a run has counted is there."""
    return f"gallon:{{{run}}}:whole"


def workers_key(run: str) -> str:
    """Return where the workers of a run say how they are."""
    return f"gallon:{{{run}}}:workers"


def while_running(run: str, sources: int) -> list[str]:
    """Return the keys of what only a run in progress needs, but for the sign that all of it is there."""
    kept = [rows_key(run, kind, source) for kind in ("rows", "invalid", "repeats") for source in range(sources)]
    return [*(key(b, run) for b in BUCKETS for key in (members_key, counts_key)), workers_key(run), *kept]
