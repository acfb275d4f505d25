"""Training examples, made on the fly from real molecules.

Every example shows the model a molecule in one of the ways of `LESSONS`: withholding the SMILES or the picture from
some (modality dropout) makes each of them carry weight. Which molecules are never shown is decided by their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from random import Random
from typing import TYPE_CHECKING

from teacher.chemistry.depiction import draw_and_locate
from teacher.chemistry.facts import facts_of
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, parse
from teacher.llm.prompt import Picture, Prompt
from teacher.tiny import answers, conversation, patches, readings
from teacher.tiny.model import IMAGE_SIZE, IMAGE_TOKENS
from teacher.tiny.tokenizer import IMAGE, PAD, id_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from tokenizers import Tokenizer

HELD_OUT = 20  # one molecule in so many is never trained on
LONGEST = 200  # characters of a SMILES to learn from
TYPICAL = 40  # characters: of shorter SMILES, which teach less, only some are taken
# Share of the batches in which the questions begin with the prompt's instructions, first and later (see `Examples`).
INSTRUCTED_FIRST, INSTRUCTED = 0.1, 0.3
WHOLE_ANSWERS = 0.25  # share of the answers that are learnt to their end: the description repeats what the fields say
BATCHES_SORTED = 8  # as many batches are cut from one sorted run, so that the SMILES of a batch are of about one length
IGNORED = -100  # cross entropy's mark of a token that is not learnt


@dataclass(frozen=True, slots=True)
class Lesson:
    """A way to show a molecule, and its share of the batches."""

    share: float
    smiles: bool = False
    picture: bool = False
    graph: bool = False


FIRST_LESSONS = (Lesson(1.0, smiles=True),)
LESSONS = (
    Lesson(0.50, smiles=True),
    Lesson(0.20, picture=True),
    Lesson(0.28, smiles=True, picture=True),
    Lesson(0.02, smiles=True, picture=True, graph=True),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples of one lesson. B is their number, P and T are tokens.

    Attributes:
        prefix: (P) the tokens that all of them begin with.
        tokens: (B, T) what follows, padded at the end.
        targets: (B, T) the token to say after each of `tokens`; `IGNORED` where none is learnt.
        pixels: (B, 3, 224, 224) bytes, or None.
        patches: (B, 256, labels) what the patches show, or None.
        read: (B, T) the tokens that are characters of a SMILES or tiles of a drawing, or end those.
        readings: (N, labels) what is known at each of those N tokens, row by row.
    """

    prefix: torch.Tensor
    tokens: torch.Tensor
    targets: torch.Tensor
    pixels: torch.Tensor | None
    patches: torch.Tensor | None
    read: torch.Tensor
    readings: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Example:
    question: list[int]
    answer: list[int]
    readings: dict[int, np.ndarray]  # by where in the question they begin
    pixels: np.ndarray | None = None
    patches: np.ndarray | None = None


def held_out(key: bytes) -> bool:
    """Tell whether the molecule with this key is kept for tests: one in `HELD_OUT`, for ever the same."""
    return int.from_bytes(key[:8]) % HELD_OUT == 0


@dataclass(frozen=True)
class Examples:
    """An endless stream of batches; the same seed gives the same stream.

    The SMILES come first, alone: from a random start, 320 batches of them (five minutes on a core) taught as much of a
    SMILES as 6,850 batches had, half of them with drawings from the beginning (3.1 and 2.9 nats an answer).

    The instructions are the same for all molecules, so little is to be learnt from them, but attention over them takes
    half of a step's time. So most batches leave them out, and the others keep the model used to them.

    Attributes:
        smiles: what to draw molecules from; those held out, or that RDKit rejects, are passed over.
        smiles_first: so many batches (and what is left of their sorted run) are of `FIRST_LESSONS`, the others of
            `LESSONS`.
    """

    smiles: Sequence[str]
    prompt: Prompt
    tokenizer: str
    batch_size: int
    seed: int
    smiles_first: int = 0

    def batches(self, first: int) -> Iterator[Batch]:
        """Yield the batches from number `first` on."""
        number = first - first % BATCHES_SORTED
        while True:
            for batch in self._run(number // BATCHES_SORTED):
                if number >= first:
                    yield batch
                number += 1

    def _run(self, number: int) -> Iterator[Batch]:
        random = Random(f"{self.seed} {number}")
        molecules = [self._molecule(random) for _ in range(self.batch_size * BATCHES_SORTED)]
        molecules.sort(key=lambda molecule: len(molecule.smiles))
        starts = list(range(0, len(molecules), self.batch_size))
        random.shuffle(starts)
        first = number * BATCHES_SORTED < self.smiles_first
        lessons, instructed = (FIRST_LESSONS, INSTRUCTED_FIRST) if first else (LESSONS, INSTRUCTED)
        for start in starts:
            (lesson,) = random.choices(lessons, [lesson.share for lesson in lessons])
            prompt = self.prompt if random.random() < instructed else self._bare_prompt
            batch = molecules[start : start + self.batch_size]
            examples = [self._example(molecule, lesson, prompt, random) for molecule in batch]
            yield _batch(examples, self._words)

    def _molecule(self, random: Random) -> Molecule:
        while True:
            smiles = random.choice(self.smiles)
            if len(smiles) > LONGEST or random.random() > len(smiles) / TYPICAL:
                continue
            try:
                molecule = parse(smiles.encode())
            except InvalidMoleculeError:
                continue
            if not held_out(molecule.key):
                return molecule

    def _example(self, molecule: Molecule, lesson: Lesson, prompt: Prompt, random: Random) -> _Example:
        import numpy as np

        facts = facts_of(molecule.mol)
        answer = conversation.answer(answers.write(facts, molecule.mol, random), self._words)
        if random.random() > WHOLE_ANSWERS:
            answer = answer[: answer.index(self._description) + 1]
        smiles = molecule.smiles if lesson.smiles else None
        graph = graph_text(molecule.mol) if lesson.graph else None
        picture = pixels = seen = None
        known = []
        if lesson.picture:
            image, places = draw_and_locate(molecule.mol, IMAGE_SIZE)
            picture, pixels, seen = Picture(image, ""), np.asarray(image), patches.seen(molecule.mol, places)
            known.append(([self._id(IMAGE)] * IMAGE_TOKENS, readings.in_picture(molecule.mol, places)))
        if smiles:
            known.append(([self._id(character) for character in smiles], readings.in_smiles(molecule)))
        question = conversation.question(
            prompt.render(task=None, smiles=smiles, picture=picture, graph=graph), self._words
        )
        return _Example(question, answer, {_find(part, question): rows for part, rows in known}, pixels, seen)

    @cached_property
    def _bare_prompt(self) -> Prompt:
        return self.prompt.model_copy(update={"instructions": ""})

    @cached_property
    def _words(self) -> Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(self.tokenizer)

    @cached_property
    def _description(self) -> int:
        return self._id("description")

    def _id(self, token: str) -> int:
        return id_of(token, self._words)


def _batch(examples: Sequence[_Example], words: Tokenizer) -> Batch:
    import numpy as np
    import torch

    length = _common(examples, id_of(IMAGE, words))
    width = max(len(example.question) + len(example.answer) for example in examples) - length - 1
    tokens = torch.full((len(examples), width), id_of(PAD, words))
    targets = torch.full((len(examples), width), IGNORED)
    read = torch.zeros((len(examples), width), dtype=torch.bool)
    known = []
    for row, example in enumerate(examples):
        both = [*example.question, *example.answer]
        tokens[row, : len(both) - length - 1] = torch.tensor(both[length:-1])
        begin = len(example.question) - length - 1
        targets[row, begin : begin + len(example.answer)] = torch.tensor(example.answer)
        for place, rows in sorted(example.readings.items()):
            cut = max(length - place, 0)  # the first characters may be the same in all SMILES, and so in the prefix
            read[row, place + cut - length : place + len(rows) - length] = True
            known.append(rows[cut:])
    pixels = [example.pixels for example in examples if example.pixels is not None]
    seen = [example.patches for example in examples if example.patches is not None]
    return Batch(
        prefix=torch.tensor(examples[0].question[:length]),
        tokens=tokens,
        targets=targets,
        pixels=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) if pixels else None,
        patches=torch.from_numpy(np.stack(seen)) if seen else None,
        read=read,
        readings=torch.from_numpy(np.concatenate(known)),
    )


def _find(part: Sequence[int], whole: Sequence[int]) -> int:
    """Return where `part` begins in `whole`, the last time."""
    size = len(part)
    return next(start for start in range(len(whole) - size, -1, -1) if whole[start : start + size] == part)


def _common(examples: Sequence[_Example], image: int) -> int:
    """Return how many tokens all questions begin with; pictures differ, though their tokens do not."""
    columns = zip(*(example.question for example in examples), strict=False)
    same = takewhile(lambda column: len(set(column)) == 1 and column[0] != image, columns)
    return min(sum(1 for _ in same), *(len(example.question) - 1 for example in examples))
