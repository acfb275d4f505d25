"""The tokenizer of the `tiny` model: byte-level BPE that knows the words of the task and spells everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY_SIZE = 1024  # at most
PAD, END, IMAGE = "<pad>", "<end_of_utterance>", "<image>"
AROUND_IMAGE, WHOLE_IMAGE = "<fake_token_around_image>", "<global-img>"
SPECIAL_TOKENS = (PAD, END, IMAGE, AROUND_IMAGE, WHOLE_IMAGE)  # the last four are Idefics3's

# Only words of prose and the punctuation of JSON become tokens of several characters. A word is two or more small
# letters, perhaps after one capital, or one small letter after a space, between edges where a SMILES has no such
# letters: there they are followed by digits, brackets or bonds. So SMILES and lists of bonds are spelt, one token a
# character, in which one character is always the same token.
_EDGE = r"""(?=[\s.,;:!?"')]|$)"""
PIECES = "|".join(
    (
        rf" [A-Z]?[a-z_]{{2,}}{_EDGE}",
        rf" [a-z]{_EDGE}",
        rf"(?<![A-Za-z0-9])[A-Z]?[a-z_]{{2,}}{_EDGE}",
        r"""[\s\[\]{}:,]*"[\s\[\]{}:,"]*""",
        r"\s+",
        r".",
    )
)


def train(texts: Iterable[str]) -> Tokenizer:
    """Learn the merges from `texts`; the same texts give the same tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def id_of(token: str, tokenizer: Tokenizer) -> int:
    """Return the id of a token that the vocabulary has.

    Raises:
        KeyError: it has not.
    """
    number = tokenizer.token_to_id(token)  # `get_vocab` would copy the vocabulary at every call
    if number is None:
        raise KeyError(token)
    return number
