"""What the store knows by name: specs, prompts, software and runs, and what the server says of itself."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, cast

from cluster.store.calls import Calls
from cluster.store.connection import StoreError, store_errors
from cluster.store.keys import IDENTITY, RUN_SECONDS, whole_key
from cluster.store.stored import damaged, run_facts
from teacher import strict_json
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec

if TYPE_CHECKING:
    from redis.cluster import RedisCluster


class Catalog(Calls):
    """Specs, prompts, software, runs, and the server."""

    def save_spec(self, spec: Spec, prompt: Prompt | None = None) -> None:
        """Keep the spec and, where it is known, its prompt, by which every record can be traced to what made it."""
        with store_errors(self.url):
            if prompt is not None:
                self._redis.hsetnx("gallon:prompts", prompt.digest, prompt.model_dump_json(by_alias=True))
            self._redis.hsetnx("gallon:specs", spec.id, spec.model_dump_json())

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

    def save_software(self, software_id: str, versions: dict[str, str]) -> None:
        """Keep the versions of the software behind an id that records carry."""
        with store_errors(self.url):
            self._redis.hsetnx("gallon:software", software_id, json.dumps(versions, sort_keys=True))

    def software(self, software_id: str) -> dict[str, str]:
        """Return the versions behind a software id; empty when it is unknown."""
        with store_errors(self.url):
            text = self._redis.hget("gallon:software", software_id)
        with damaged(f"the versions of a software, {software_id},"):
            return strict_json.read(dict[str, str], text) if text else {}

    # Runs

    def begin_run(self, run: str, facts: dict[str, Any]) -> bool:
        """Keep what is known of a run that begins; False where there is a run of this id."""
        with store_errors(self.url):
            if not self._redis.hsetnx("gallon:runs", run, _facts(facts)):
                return False
            self._redis.set(whole_key(run), 1, ex=RUN_SECONDS)
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

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return what is known of all runs, by id, the oldest first."""
        runs = {run: run_facts(run, text) for run, text in self._hash("gallon:runs").items()}
        return dict(sorted(runs.items(), key=lambda item: item[1]["started"]))

    # The server

    def identity(self) -> str:
        """Return the random name of this store, which it is given the first time that anybody asks."""
        with store_errors(self.url):
            self._redis.set(IDENTITY, secrets.token_hex(16), nx=True)
            return cast("bytes", self._redis.get(IDENTITY)).decode()

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
            if self._on_cluster:  # node by node, for the answers of all come without their nodes where there is one
                nodes = cast("RedisCluster", self._redis).get_primaries()  # type: ignore[no-untyped-call]
                return [self._redis.info("memory", target_nodes=node) for node in nodes]
            return [self._redis.info("memory")]


def _facts(facts: dict[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)
