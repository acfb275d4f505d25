"""The store: what Redis holds, and the few atomic steps by which it changes.

Every molecule of a spec stands in exactly one of three hashes: pending, accepted or dead. A step moves it from one to
another in one Lua script, and the ledger is the length of the hashes, so it cannot drift from what is there.

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

import hashlib
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain, compress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cluster.runtime.process import Process
from cluster.store.connection import StoreError, connect, is_cluster, is_unsettled, store_errors
from cluster.store.record import Counts, DeadLetter, Ledger, Record
from cluster.store.stored import damaged, run_facts
from teacher import strict_json
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec

if TYPE_CHECKING:
    from redis.client import Pipeline

STATES = ("accepted", "dead", "pending")
KINDS = {Record: "record", DeadLetter: "dead letter"}
BUCKETS = [f"{number:02x}" for number in range(256)]
SCRIPTS = ("register", "claim", "hand", "commit", "rows", "tally", "retry", "change")
LETTERS_PER_CALL = 1_000
DAY_SECONDS = 24 * 3600
PARSED_SECONDS = 60 * DAY_SECONDS
LETTERS_SECONDS = 30 * DAY_SECONDS
RUN_SECONDS = DAY_SECONDS
SOONER_SECONDS = 600  # that the sign of a run's wholeness expires before anything else of it
IDENTITY = "gallon:id"
UNSETTLED_SECONDS, UNSETTLED_PAUSE = 60.0, 0.5  # how long a step waits for slots of a cluster that are being moved
FINISHED, HELD = -1, -2  # answers of `Store.claim`

Outcome = tuple[bytes, Record | DeadLetter]
Call = tuple[list[str], list[Any]]  # the keys and the arguments of a script
T = TypeVar("T")
Stored = TypeVar("Stored", Record, DeadLetter)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a run: what it annotates, from which process, and until when it is taken to be alive.

    `until` is by the clock of Redis, in seconds since 1970, so that the clocks of several machines need not agree.
    """

    spec: str
    process: Process
    until: float

    def pack(self) -> str:
        """Return it as it is stored."""
        process = {"machine": self.process.machine, "process": self.process.number, "began": self.process.began}
        return json.dumps({"spec": self.spec, **process, "until": self.until})

    @classmethod
    def unpack(cls, packed: bytes) -> Heartbeat:
        """Read a stored one; where it was written by an older gallon, nothing is known of its machine.

        Raises:
            ValueError, KeyError: it is none.
        """
        fields = strict_json.read(dict[str, Any], packed)
        process = {"machine": fields.get("machine", ""), "number": fields["process"], "began": fields.get("began", 0)}
        return strict_json.read(cls, json.dumps({**fields, "process": process}))


@dataclass(frozen=True, slots=True)
class Row:
    """A row that holds a molecule: the molecule's key and where it stands in the library."""

    key: bytes
    source: int
    row: int

    @property
    def owner(self) -> bytes:
        """The row's own name, by which it knows its molecule again when a task is run a second time."""
        return f"{self.source}:{self.row}".encode()


class Store:
    """The annotations in one Redis.

    Every method raises `StoreError` when Redis fails or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._redis = connect(url)
        prelude = f"local run_seconds = {RUN_SECONDS}\n{_lua('prelude')}"
        self._scripts = {name: prelude + _lua(name) for name in SCRIPTS}
        self._on_cluster = is_cluster(url)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    # What a run begins with

    def save_spec(self, spec: Spec, prompt: Prompt | None = None) -> None:
        """Keep the spec and, where it is known, its prompt, by which every record can be traced to what made it."""
        with store_errors(self.url):
            if prompt is not None:
                self._redis.hsetnx("gallon:prompts", prompt.digest, prompt.model_dump_json(by_alias=True))
            self._redis.hsetnx("gallon:specs", spec.id, spec.model_dump_json())

    def save_software(self, software_id: str, versions: dict[str, str]) -> None:
        """Keep the versions of the software behind an id that records carry."""
        with store_errors(self.url):
            self._redis.hsetnx("gallon:software", software_id, json.dumps(versions, sort_keys=True))

    def identity(self) -> str:
        """Return the random name of this store, which it is given the first time that anybody asks."""
        with store_errors(self.url):
            self._redis.set(IDENTITY, secrets.token_hex(16), nx=True)
            return cast("bytes", self._redis.get(IDENTITY)).decode()

    def begin_run(self, run: str, facts: dict[str, Any]) -> bool:
        """Keep what is known of a run that begins; False where there is a run of this id."""
        with store_errors(self.url):
            if not self._redis.hsetnx("gallon:runs", run, _facts(facts)):
                return False
            self._redis.set(_whole(run), 1, ex=RUN_SECONDS)
            return True

    def save_run(self, run: str, facts: dict[str, Any]) -> None:
        """Keep what is known of a run; a later call for the same run replaces it."""
        with store_errors(self.url):
            self._redis.hset("gallon:runs", run, _facts(facts))

    def change_run(self, run: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
        """Replace what is known of a run, unless it is no more what it was; return whether it was replaced."""
        with store_errors(self.url):
            return bool(self._run_script("change", ["gallon:runs"], [run, _facts(before), _facts(after)]))

    def facts(self, run: str) -> dict[str, Any]:
        """Return what is known of a run; empty where there is none."""
        with store_errors(self.url):
            text = self._redis.hget("gallon:runs", run)
        return run_facts(run, text) if text else {}

    def specs(self) -> dict[str, Spec]:
        """Return all specs that the store knows, by id."""
        specs = {}
        for spec_id, text in self._hash("gallon:specs").items():
            with damaged(f"a spec, {spec_id},"):
                specs[spec_id] = strict_json.read(Spec, text)
        return specs

    def prompt(self, spec: Spec) -> Prompt | None:
        """Return the prompt of a spec, or None where only its name is known (imported annotations)."""
        with store_errors(self.url):
            text = self._redis.hget("gallon:prompts", spec.prompt.digest)
        with damaged(f"a prompt, {spec.prompt.digest[:16]},"):
            return strict_json.read(Prompt, text) if text else None

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return what is known of all runs, by id, the oldest first."""
        runs = {run: run_facts(run, text) for run, text in self._hash("gallon:runs").items()}
        return dict(sorted(runs.items(), key=lambda item: item[1]["started"]))

    def software(self, software_id: str) -> dict[str, str]:
        """Return the versions behind a software id; empty when it is unknown."""
        with store_errors(self.url):
            text = self._redis.hget("gallon:software", software_id)
        with damaged(f"the versions of a software, {software_id},"):
            return strict_json.read(dict[str, str], text) if text else {}

    def check_policy(self) -> None:
        """Refuse a Redis that would throw records away when it is full.

        Raises:
            StoreError: the eviction policy is another than `noeviction`.
        """
        for memory in self._memory():
            if memory.get("maxmemory") and memory.get("maxmemory_policy") != "noeviction":
                raise StoreError(
                    f"This Redis drops keys when it is full (maxmemory-policy {memory['maxmemory_policy']}): "
                    "set it to noeviction, so that no annotation is lost."
                )

    def memory(self) -> tuple[int, int]:
        """Return the bytes that Redis uses and those that it may use (0: no limit), over all its servers."""
        servers = self._memory()
        return sum(server["used_memory"] for server in servers), sum(server.get("maxmemory", 0) for server in servers)

    def _memory(self) -> list[dict[str, Any]]:
        with store_errors(self.url):
            if self._on_cluster:
                return list(self._redis.info("memory", target_nodes="primaries").values())
            return [self._redis.info("memory")]

    # Which runs are alive

    def heartbeat(self, run: str, spec_id: str, process: Process, seconds: float) -> None:
        """Give a sign of life of a run, which counts for so many seconds."""
        with store_errors(self.url):
            heartbeat = Heartbeat(spec_id, process, self._now() + seconds)
            self._redis.hset("gallon:alive", run, heartbeat.pack())

    def stop_heartbeat(self, *runs: str) -> None:
        """Take runs for ended: what they had claimed may be claimed by others."""
        with store_errors(self.url):
            self._redis.hdel("gallon:alive", *runs)

    def heartbeats(self) -> dict[str, Heartbeat]:
        """Return the last sign of life of every run that has not stopped giving them, however old it is."""
        beats: dict[str, Heartbeat] = {}
        for run, packed in self._hash("gallon:alive").items():
            with damaged(f"a sign of life, of the run {run},"):
                beats[run] = Heartbeat.unpack(packed)
        return beats

    def alive(self, spec_id: str | None = None) -> dict[str, Heartbeat]:
        """Return the runs that are alive, those of one spec or all, with their last signs of life."""
        beats = self.heartbeats()
        now = self._now() if beats else 0.0
        return {
            run: heartbeat
            for run, heartbeat in beats.items()
            if heartbeat.until > now and spec_id in {None, heartbeat.spec}
        }

    def renew(self, run: str, sources: int) -> None:
        """Let what a run has counted stay for another day. Whoever does so only ever makes it stay longer."""
        keys = _while_running(run, sources)
        with store_errors(self.url):
            self._pipeline(lambda pipe: [pipe.expire(key, RUN_SECONDS) for key in keys])
            self._redis.expire(_letters(run), LETTERS_SECONDS)
            self._redis.expire(_whole(run), RUN_SECONDS - SOONER_SECONDS)

    def is_whole(self, run: str, identity: str) -> bool:
        """Tell whether this is still the store of this identity, with everything that a run has counted in it.

        It is not after the store was emptied or exchanged, or when nobody has renewed the run for a day.
        """
        found, whole = self._pipeline(lambda pipe: [pipe.get(IDENTITY), pipe.get(_whole(run))])
        return bool(found == identity.encode() and whole)

    def save_worker_status(self, run: str, worker: str, facts: dict[str, Any]) -> None:
        """Note what a worker of a run says of itself, and when."""
        with store_errors(self.url):
            said = json.dumps({**facts, "time": self._now()})
        key = f"gallon:{{{run}}}:workers"
        self._pipeline(lambda pipe: [pipe.hset(key, worker, said), pipe.expire(key, RUN_SECONDS)])

    def worker_statuses(self, run: str) -> dict[str, dict[str, Any]]:
        """Return what each worker of a run has said last, and as `age` how many seconds ago."""
        told = self._hash(f"gallon:{{{run}}}:workers")
        with store_errors(self.url):
            now = self._now() if told else 0.0
        said: dict[str, dict[str, Any]] = {}
        for worker, text in told.items():
            with damaged(f"a sign, of the worker {worker},"):
                facts = strict_json.read(dict[str, Any], text)
                said[worker] = {"age": max(0.0, now - facts.pop("time")), **facts}
        return said

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds) + microseconds / 1e6

    # The steps of a row and its molecule

    def parsed(self, digest: str) -> bytes | None:
        """Return what was kept of rows with this digest: their molecule keys one after the other, or None."""
        with store_errors(self.url):
            return cast("bytes | None", self._redis.getex(f"gallon:parsed:{digest}", ex=PARSED_SECONDS))

    def save_parsed(self, digest: str, keys: bytes) -> None:
        """Keep the molecule keys of rows, for as long as somebody asks for them from time to time."""
        with store_errors(self.url):
            self._redis.set(f"gallon:parsed:{digest}", keys, ex=PARSED_SECONDS)

    def register(self, spec_id: str, run: str, rows: Sequence[Row]) -> list[bool]:
        """Enter molecules into a run, and into the ledger as pending where they are new.

        Returns:
            For each row whether it is the one by which its molecule is to be annotated now: not a duplicate of
            another row of the run, and neither accepted nor dead. The same row gets the same answer again.
            Duplicates are noted as such.
        """
        calls = self._by_bucket(rows, key=lambda row: row.key, arguments=lambda row: [row.key, row.owner])
        answers = self._call(
            "register",
            {
                b: ([*_of_spec(b, spec_id, *STATES), _members(b, run), _counts(b, run)], args)
                for b, args in calls.items()
            },
        )
        flags = {bucket: iter(answer) for bucket, answer in answers.items()}
        found = [next(flags[_bucket(row.key)]) for row in rows]
        repeats = [row for row, flag in zip(rows, found, strict=True) if flag == ord("2")]
        self._note_repeats(run, repeats)
        return [flag == ord("1") for flag in found]

    def _note_repeats(self, run: str, repeats: Sequence[Row]) -> None:
        def fill(pipe: Pipeline) -> None:
            for row in repeats:
                pipe.setbit(_rows(run, "repeats", row.source), row.row, 1)
            for source in {row.source for row in repeats}:
                pipe.expire(_rows(run, "repeats", source), RUN_SECONDS)

        self._pipeline(fill)

    def note_rows(self, run: str, source: int, rows: range, invalid: dict[int, DeadLetter]) -> None:
        """Note consecutive rows of a source as read, and those that are no molecule with their letters.

        The last word counts: a row that took too long to parse on a busy machine may hold a molecule the next time.
        """
        keys = [_rows(run, "rows", source), _rows(run, "invalid", source), _letters(run)]
        letters = [(row, f"{source}:{row}", letter.pack()) for row, letter in invalid.items()]
        with store_errors(self.url):
            for start in range(0, max(len(letters), 1), LETTERS_PER_CALL):
                part = [argument for letter in letters[start : start + LETTERS_PER_CALL] for argument in letter]
                noted = [source, rows.start, rows.stop - 1] if start == 0 else [source, 0, -1]
                self._run_script("rows", keys, [*noted, *part])

    def claim(
        self, spec_id: str, run: str, keys: Sequence[bytes], claim: str, ended_well: Sequence[str] = ()
    ) -> list[int]:
        """Claim molecules for a run. Nothing is counted, except that whoever had them in an engine's hands lost them.

        Args:
            spec_id: the spec that they are annotated under.
            run: the run that claims them.
            keys: the molecules.
            claim: an id of this claim, without blanks. The same claim again, after its answer was lost, changes
                nothing; another one of the same run takes what the run's earlier ones hold.
            ended_well: runs that were stopped in good order, whose molecules in hand are not counted as lost.

        Returns:
            For each key how often an engine was lost with it in its hands; `FINISHED` where it is no longer pending,
            `HELD` where another run that is alive has claimed it.
        """
        others = [other for other in self.alive(spec_id) if other != run]
        calls = self._by_bucket(keys, key=bytes, arguments=lambda key: [key])
        answers = self._call(
            "claim",
            {b: (_of_spec(b, spec_id, "pending"), args) for b, args in calls.items()},
            [run, claim, len(others), *others, len(ended_well), *ended_well],
        )
        losses = {bucket: iter(answer) for bucket, answer in answers.items()}
        return [next(losses[_bucket(key)]) for key in keys]

    def hand(self, spec_id: str, run: str, claims: Sequence[tuple[bytes, str]]) -> int:
        """Note that a ready engine has molecules in its hands, so that their loss counts if it dies with them.

        Args:
            spec_id: the spec that they are annotated under.
            run: the run that claimed them.
            claims: the molecules, each with the id of its claim.

        Returns:
            How many it was noted of; the others are finished, or somebody else has claimed them meanwhile.
        """
        calls = self._by_bucket(claims, key=lambda claim: claim[0], arguments=lambda claim: [*claim])
        answers = self._call("hand", {b: (_of_spec(b, spec_id, "pending"), args) for b, args in calls.items()}, [run])
        return sum(answers.values())

    def commit(self, spec_id: str, run: str, outcomes: Sequence[Outcome], tokens: Sequence[tuple[int, int]]) -> int:
        """Store what became of molecules, each in one atomic step; the first accepted record wins.

        Args:
            spec_id: the spec that the molecules were annotated under.
            run: the run that did it.
            outcomes: molecule keys, each with its record or its dead letter.
            tokens: prompt and completion tokens spent on each, over all attempts.

        Returns:
            How many molecules moved; the others had been finished by somebody else.
        """
        spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (key, _), (prompt, completion) in zip(outcomes, tokens, strict=True):
            spent[_bucket(key)][0] += prompt
            spent[_bucket(key)][1] += completion
        calls = self._by_bucket(
            outcomes,
            key=lambda outcome: outcome[0],
            arguments=lambda outcome: [outcome[0], _place(outcome[1]), outcome[1].pack()],
        )
        answers = self._call(
            "commit",
            {b: ([*_of_spec(b, spec_id, *STATES), _counts(b, run)], [*spent[b], *args]) for b, args in calls.items()},
        )
        return sum(answers.values())

    def retry_dead(self, spec_id: str) -> int:
        """Put all dead letters of a spec back among the pending and return how many.

        Rows that are no molecule stay what they are: each run reads them anew.
        """
        return sum(self._call_apart("retry", {b: _of_spec(b, spec_id, "dead", "pending") for b in BUCKETS}))

    # The ledger

    def counts(self, spec_id: str) -> Counts:
        """Count how the molecules of a spec stand."""
        lengths = self._pipeline(
            lambda pipe: [pipe.hlen(key) for b in BUCKETS for key in _of_spec(b, spec_id, *STATES)]
        )
        return Counts(accepted=sum(lengths[0::3]), dead=sum(lengths[1::3]), pending=sum(lengths[2::3]))

    def progress(self, run: str) -> dict[str, int]:
        """Sum what a run has counted so far: todo, accepted, dead, prompt_tokens, completion_tokens. Cheap."""
        total: dict[str, int] = defaultdict(int)
        with damaged(f"counts, of the run {run},"):
            for counted in self._pipeline(lambda pipe: [pipe.hgetall(_counts(b, run)) for b in BUCKETS]):
                for name, value in counted.items():
                    total[name.decode()] += int(value)
        return total

    def rows_read(self, run: str, sources: int) -> tuple[int, int]:
        """Return how many rows a run has read, and how many of them are invalid."""
        rows, invalid = (self._count_rows(run, kind, sources) for kind in ("rows", "invalid"))
        return rows, invalid

    def _count_rows(self, run: str, kind: str, sources: int) -> int:
        return sum(self._pipeline(lambda pipe: [pipe.bitcount(_rows(run, kind, source)) for source in range(sources)]))

    def ledger(self, spec_id: str, run: str, sources: int, seconds: float) -> Ledger:
        """Count how the rows of a run stand now, molecule by molecule.

        Rows, duplicates and invalid rows are each counted for themselves, so that something is lost, or still on its
        way, where they do not add up.
        """
        rows, invalid = self.rows_read(run, sources)
        duplicates = self._count_rows(run, "repeats", sources)
        molecules, accepted, dead, _ = self._tally(spec_id, run)
        moved = self.progress(run)
        return Ledger(
            rows=rows,
            molecules=molecules,
            duplicates=duplicates,
            invalid=invalid,
            accepted=accepted,
            dead=dead,
            pending=molecules - accepted - dead,
            new=moved["accepted"],
            new_dead=moved["dead"],
            prompt_tokens=moved["prompt_tokens"],
            completion_tokens=moved["completion_tokens"],
            seconds=seconds,
        )

    def left(self, spec_id: str, run: str) -> tuple[int, int]:
        """Count the molecules of a run that are pending: those that are free, and those that other living runs hold."""
        others = [other for other in self.alive(spec_id) if other != run]
        molecules, accepted, dead, held = self._tally(spec_id, run, others)
        return molecules - accepted - dead - held, held

    def _tally(self, spec_id: str, run: str, others: Sequence[str] = ()) -> list[int]:
        """Count the molecules of a run: all, accepted, dead, and pending in the hands of these other runs."""
        keys = {b: [*_of_spec(b, spec_id, *STATES), _members(b, run)] for b in BUCKETS}
        return [sum(counts) for counts in zip(*self._call_apart("tally", keys, others), strict=True)]

    def forget_run(self, run: str, sources: int) -> None:
        """Drop what only a run in progress needs, and let the letters of its invalid rows expire."""
        keys = [*_while_running(run, sources), _whole(run)]
        self._pipeline(lambda pipe: [pipe.unlink(key) for key in keys])
        with store_errors(self.url):
            self._redis.expire(_letters(run), LETTERS_SECONDS)

    # Reading back

    def records(self, spec_id: str) -> Iterator[tuple[bytes, Record]]:
        """Yield all accepted records of a spec with their keys, bucket by bucket."""
        for key, packed in self.packed_records(spec_id):
            yield key, _unpacked(Record, key, packed)

    def packed_records(self, spec_id: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield all accepted records of a spec as they are stored."""
        return self._scan(spec_id, "accepted")

    def dead_letters(self, spec_id: str) -> Iterator[tuple[bytes, DeadLetter]]:
        """Yield the dead letters of a spec's molecules with their keys, bucket by bucket."""
        for key, packed in self._scan(spec_id, "dead"):
            yield key, _unpacked(DeadLetter, key, packed)

    def invalid_letters(self, run: str) -> Iterator[DeadLetter]:
        """Yield the letters of the rows of a run that are no molecule."""
        with store_errors(self.url):
            for row, packed in self._redis.hscan_iter(_letters(run), count=500):
                yield _unpacked(DeadLetter, row, packed)

    def fetch(self, spec_id: str, keys: Sequence[bytes]) -> list[Record | None]:
        """Return the accepted record of each key, or None."""
        found = self._pipeline(
            lambda pipe: [pipe.hget(_of_spec(_bucket(key), spec_id, "accepted")[0], key) for key in keys]
        )
        return [_unpacked(Record, key, packed) if packed else None for key, packed in zip(keys, found, strict=True)]

    def state_of(self, spec_id: str, keys: Sequence[bytes]) -> list[str]:
        """Tell for each key where it stands: `accepted`, `dead`, `pending` or `missing`."""
        found = self._pipeline(
            lambda pipe: [
                pipe.hexists(place, key) for key in keys for place in _of_spec(_bucket(key), spec_id, *STATES)
            ]
        )
        places = [*STATES, "missing"]
        return [places[[*found[i : i + 3], True].index(True)] for i in range(0, len(found), 3)]

    # How calls reach Redis

    def _hash(self, name: str) -> dict[str, bytes]:
        (found,) = self._pipeline(lambda pipe: [pipe.hgetall(name)])
        with damaged(f"a name in {name}"):
            return {field.decode(): value for field, value in found.items()}

    def _scan(self, spec_id: str, place: str) -> Iterator[tuple[bytes, bytes]]:
        with store_errors(self.url):
            for bucket in BUCKETS:
                yield from self._redis.hscan_iter(_of_spec(bucket, spec_id, place)[0], count=500)

    def _call(self, script: str, calls: dict[str, Call], common: Sequence[Any] = ()) -> dict[str, Any]:
        """Run a script over buckets, and return its answer for each.

        A single server does all of them in one atomic step. On a cluster, where a bucket is one slot, each is a step.
        """
        if not calls:
            return {}
        if self._on_cluster:
            answers = self._pipeline_of(script, [_joined([call]) for call in calls.values()], common)
            return dict(zip(calls, chain.from_iterable(answers), strict=True))
        keys, arguments = _joined(calls.values())
        with store_errors(self.url):
            return dict(zip(calls, self._run_script(script, keys, [*common, *arguments]), strict=True))

    def _call_apart(self, script: str, keys: dict[str, list[str]], common: Sequence[Any] = ()) -> list[Any]:
        """Run a script that takes its time once for each bucket, so that Redis can serve others in between."""
        return self._pipeline_of(script, [(each, []) for each in keys.values()], common)

    def _pipeline_of(self, script: str, calls: Iterable[Call], common: Sequence[Any] = ()) -> list[Any]:
        """Run a script several times. It is sent whole: what a server has forgotten cannot be loaded on the way."""
        text = self._scripts[script]
        commands = [("EVAL", text, len(keys), *keys, *common, *arguments) for keys, arguments in calls]
        with store_errors(self.url):
            answers = self._try(commands)
            until = time.monotonic() + UNSETTLED_SECONDS
            while any(unsettled := [*map(is_unsettled, answers)]) and time.monotonic() < until:
                time.sleep(UNSETTLED_PAUSE)
                again = iter(self._try(compress(commands, unsettled)))
                answers = [next(again) if so else answer for answer, so in zip(answers, unsettled, strict=True)]
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    def _try(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Send commands, and return for each its answer or its error."""
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            answers: list[Any] = pipe.execute(raise_on_error=False)
            return answers

    def _run_script(self, script: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script by its digest, or whole where the server does not know it (any more)."""
        from redis.exceptions import NoScriptError

        text = self._scripts[script]
        arguments = [len(keys), *keys, *arguments]
        try:
            return self._redis.execute_command("EVALSHA", _sha(text), *arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return self._redis.execute_command("EVAL", text, *arguments)  # type: ignore[no-untyped-call]

    def _pipeline(self, fill: Callable[[Pipeline], object]) -> list[Any]:
        with store_errors(self.url), self._redis.pipeline(transaction=False) as pipe:
            fill(pipe)
            answers: list[Any] = pipe.execute()
            return answers

    @staticmethod
    def _by_bucket(
        items: Iterable[T], key: Callable[[T], bytes], arguments: Callable[[T], list[Any]]
    ) -> dict[str, list[Any]]:
        """Lay out the arguments of a script call for each bucket, in the order of the items."""
        calls: dict[str, list[Any]] = defaultdict(list)
        for item in items:
            calls[_bucket(key(item))] += arguments(item)
        return calls


def _unpacked(kind: type[Stored], key: bytes, packed: bytes) -> Stored:
    try:
        return kind.unpack(packed)
    except ValueError:
        with damaged(f"a {KINDS[kind]}, under {key.hex()},"):
            raise


def _joined(calls: Iterable[Call]) -> Call:
    """Put the calls of several buckets into one: keys after keys, and arguments after their number."""
    keys: list[str] = []
    arguments: list[Any] = []
    for its_keys, its_arguments in calls:
        keys += its_keys
        arguments += [len(its_arguments), *its_arguments]
    return keys, arguments


def _facts(facts: dict[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _lua(name: str) -> str:
    return files("cluster.store").joinpath(f"lua/{name}.lua").read_text()


def _bucket(key: bytes) -> str:
    return BUCKETS[key[0]]


def _of_spec(bucket: str, spec_id: str, *places: str) -> list[str]:
    return [f"gallon:{{{bucket}}}:{spec_id}:{place}" for place in places]


def _members(bucket: str, run: str) -> str:
    return f"gallon:{{{bucket}}}:run:{run}"


def _counts(bucket: str, run: str) -> str:
    return f"gallon:{{{bucket}}}:run:{run}:counts"


def _rows(run: str, kind: str, source: int) -> str:
    return f"gallon:{{{run}}}:{kind}:{source}"


def _letters(run: str) -> str:
    return f"gallon:{{{run}}}:invalid"


def _whole(run: str) -> str:
    return f"gallon:{{{run}}}:whole"


def _while_running(run: str, sources: int) -> list[str]:
    """Return the keys of what only a run in progress needs, but for the sign that all of it is there."""
    kept = [_rows(run, kind, source) for kind in ("rows", "invalid", "repeats") for source in range(sources)]
    return [*(key(b, run) for b in BUCKETS for key in (_members, _counts)), f"gallon:{{{run}}}:workers", *kept]


def _place(outcome: Record | DeadLetter) -> str:
    return "accepted" if isinstance(outcome, Record) else "dead"
