"""Molecules that were asked for before, each parsed once, in a process of its own which one that kills RDKit ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from teacher.chemistry.molecule import InvalidMoleculeError
from teacher.chemistry.parsing import Parsed, ParserEndedError, SafeParser

if TYPE_CHECKING:
    from teacher.chemistry.parsing import Text

MOST = 20_000  # SMILES that are kept
PARSING_SECONDS = 10.0  # of one molecule, for which other requests wait: the slowest within the bounds takes two


class KnownMolecules:
    """Parses SMILES, and keeps what they are; to be used in one event loop.

    Args:
        parser: parses what is not known yet; by default one that gives a molecule `PARSING_SECONDS`.
        most: SMILES that are kept at a time; beyond that, it begins anew.
    """

    def __init__(self, parser: SafeParser | None = None, most: int = MOST) -> None:
        self._parser = parser or SafeParser(PARSING_SECONDS)
        self._parser.parse([(b"C", "smiles")])  # starts it
        self._most = most
        self._known: dict[str, Parsed | InvalidMoleculeError] = {}

    async def parse(self, texts: Sequence[str]) -> list[Parsed | InvalidMoleculeError]:
        """Return for each SMILES its molecule, or why it is none."""
        # A request keeps its own, since others may begin anew while it waits for the parser.
        found = {text: self._known[text] for text in texts if text in self._known}
        unknown = [text for text in dict.fromkeys(texts) if text not in found]
        if unknown:
            raw: list[Text] = [(text.encode(errors="surrogatepass"), "smiles") for text in unknown]
            parsed = dict(zip(unknown, await asyncio.to_thread(self._parser.parse, raw), strict=True))
            self._keep(parsed)
            found |= parsed
        return [found[text] for text in texts]

    def _keep(self, parsed: dict[str, Parsed | InvalidMoleculeError]) -> None:
        """Keep what was found out about molecules, but not what a machine that stalls may have brought about."""
        certain = {text: each for text, each in parsed.items() if not isinstance(each, ParserEndedError)}
        if len(self._known) + len(certain) > self._most:
            self._known.clear()
        self._known.update(certain)
