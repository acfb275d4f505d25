"""The vocabulary of Tekken, 131,072 tokens, which `mistral_common` ships: a real one where no model can be loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_tekken(folder: Path, special: Sequence[str]) -> dict[str, int]:
    """Write `tokenizer.json` with the vocabulary and some special tokens, and return the ids of all."""
    import mistral_common
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.mistral import convert_tekken_tokenizer

    inner = convert_tekken_tokenizer(str(Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=getattr(inner, "_tokenizer", inner))
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    ids: dict[str, int] = tokenizer.get_vocab()
    return ids
