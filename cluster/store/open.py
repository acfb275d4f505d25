"""The store that a user names, and the spec in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from cluster.store.address import is_url
from cluster.store.embedded import embedded_redis, holds_data
from cluster.store.store import Store
from cluster.store.stored import damaged
from teacher.errors import UsageError
from teacher.llm.spec import Spec


@contextmanager
def open_store(where: str, *, create: bool = True) -> Iterator[Store]:
    """Open the store that a user names: a Redis URL, or a folder for an embedded one.

    Args:
        where: the URL or the folder.
        create: whether a store may be made in a folder that holds none.

    Raises:
        UsageError: it is neither, or there is no store.
        StoreError: it cannot be opened.
    """
    with nullcontext(where) if is_url(where) else embedded_redis(Path(where), create=create) as url:
        store = Store(url)
        try:
            yield store
        finally:
            store.close()


def has_store(where: str) -> bool:
    """Tell whether a store is in the folder that a user names; a Redis URL is taken to have one."""
    return is_url(where) or holds_data(Path(where))


def is_embedded(store: Store) -> bool:
    """Tell whether only processes of this machine reach the store."""
    return store.url.startswith("unix://")


def choose_spec(store: Store, spec_id: str | None) -> Spec:
    """Return the spec that a user means: by the beginning of its id, or the only one there is.

    Raises:
        UsageError: there is none, or more than one.
        DamagedError: it is another spec than its id says.
    """
    specs = store.specs()
    fitting = [known for known in specs if known.startswith(spec_id or "")]
    if len(fitting) == 1:
        with damaged(f"a spec, {fitting[0]},"):
            return _under(fitting[0], specs[fitting[0]])
    if not specs:
        raise UsageError("The store is empty: run 'gallon annotate' first, or name another with --store.")
    what = "There are several specs" if fitting else f"There is no spec '{spec_id}'"
    raise UsageError(f"{what}: choose one with --spec out of {_listed(specs)}.")


def known_spec(store: Store, spec: Spec) -> Spec:
    """Return a spec that options make, which something was annotated under.

    Raises:
        UsageError: nothing was.
    """
    specs = store.specs()
    if spec.id in specs:
        return spec
    if not specs:
        return choose_spec(store, None)  # which says that the store is empty
    raise UsageError(
        f"Nothing was annotated under spec {spec.id}, which the options name: give those of the annotation, or choose "
        f"one with --spec out of {_listed(specs)}."
    )


def _listed(specs: Mapping[str, Spec]) -> str:
    return ", ".join(f"{spec.id} ({spec.model.name}, {spec.prompt.name})" for spec in specs.values())


def _under(spec_id: str, spec: Spec) -> Spec:
    if spec.id != spec_id:
        raise ValueError(f"it hashes to {spec.id}")
    return spec
