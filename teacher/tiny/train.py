"""How the `tiny` model learns: from the prompt exactly as the engine renders it, on a CPU or a GPU, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import AdamW, Muon, Optimizer
from torch.utils.data import DataLoader, IterableDataset
from transformers import DynamicCache

from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import replacing
from teacher.llm import prompt
from teacher.tiny import checkpoint, corpus, model, patches, readings, tokenizer
from teacher.tiny.examples import IGNORED, Batch, Examples

if TYPE_CHECKING:
    from rich.progress import Progress

SMILES_FIRST = 0.6  # share of the steps that show SMILES alone
WARM_UP = 100  # steps
SAVE_EVERY = 100  # steps
RECENT = 50  # steps that a shown loss is the mean of
BATCHES_AHEAD = 8
LOSSES = {
    "answer": "answers: cross entropy of a token",
    "patches": "drawings: cross entropy of all labels of a patch",
    "readings": "SMILES and drawings: cross entropy of all labels of a token",
}
LESSONS_WEIGHT = 0.1  # of the lessons about patches and tokens, beside the answer's
GRADIENT_NORM = 1.0  # at most
# oneDNN keeps a compiled kernel of each shape it has met, 1,024 of them unless told otherwise. Here every batch has a
# width of its own: with 1,024, a training took 11 GB after 700 steps, and a step a quarter longer than with 128.
KERNELS_KEPT = 128
FEW_TOKENS = 256  # up to so many, a CPU is faster (a step by a quarter) without the fused attention, beyond it slower
# Muon (Jordan et al., 2024) moves the matrices inside the layers, AdamW all else (embeddings, norms, biases).
MATRIX_RATE, OTHER_RATE = 0.03, 4e-3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to train, and on what.

    Attributes:
        steps: batches in all.
        rate: of learning at its highest, as a share of the full one; a model that knows much already forgets less, and
            learns more in a short time, at a lower one.
        batch_size: molecules of a batch.
        start: the folder of a checkpoint of this recipe to begin with; None begins at random.
        seed: of the random start, and of the examples.
        device: "cpu" or "cuda".
    """

    steps: int
    rate: float = 1.0
    batch_size: int = 64
    start: str | None = None
    seed: int = 0
    device: str = "cpu"


def train(smiles: Sequence[str], plan: Plan, folder: Path, progress: Progress) -> None:
    """Train, or go on where an interrupted training in `folder` was last saved.

    Writes `checkpoint/` (what vLLM loads), `losses.json`, `losses.png`, and `state.pt` to go on from.

    Args:
        smiles: the library; molecules that are held out are passed over.
        plan: how long to train.
        folder: is made where it is missing.
        progress: shows the steps.

    Raises:
        UsageError: the folder holds a training under another plan, or the plan's start is of another recipe.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS_KEPT))  # read when the first kernel is made
    folder.mkdir(parents=True, exist_ok=True)
    learner = Learner(plan, folder)
    learner.restore()
    task = progress.add_task("training", total=plan.steps, completed=learner.step, note="")
    for batch in _batches(smiles, learner):
        losses = learner.learn(batch)
        learner.history.append({"step": learner.step, **losses})
        progress.update(task, completed=learner.step, note=_spoken(learner.history))
        if learner.step % SAVE_EVERY == 0 or learner.step == plan.steps:
            learner.save()


class Learner:
    """The network in training: its optimizers, its history, and how far it has come."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.words = tokenizer.train(corpus.texts())
        self.network = model.network(self.words.get_vocab(), plan.seed).to(plan.device)
        if plan.start:
            self._begin_with(Path(plan.start))
        heads = {
            "patches": torch.nn.Linear(model.VISION["hidden_size"], len(patches.labels())),
            "readings": torch.nn.Linear(model.TEXT["hidden_size"], len(readings.labels())),
        }
        self.heads = torch.nn.ModuleDict(heads).to(plan.device)
        self.optimizers = _optimizers([*self.network.named_parameters(), *self.heads.named_parameters()])
        self.step = 0
        self.history: list[dict[str, float]] = []

    def learn(self, batch: Batch) -> dict[str, float]:
        """Take one step; return the losses: of the answers, of the patches of pictures, of the readings."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * self._pace()
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.plan.device, torch.bfloat16):
            losses = self._losses(batch)
            total = losses["answer"] + LESSONS_WEIGHT * (losses.get("patches", 0.0) + losses.get("readings", 0.0))
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters(), GRADIENT_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return {name: loss.item() for name, loss in losses.items()}

    def save(self) -> None:
        """Write what is needed to go on, and the checkpoint as it would be served now."""
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "history": self.history,
            "network": self.network.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with replacing(self.folder / "state.pt") as aside, aside.open("wb") as file:
            torch.save(state, file)
        draw_losses(self.history, self.folder)
        checkpoint.write(self.folder / "checkpoint", self.words, dict(self.network.named_parameters()))

    def restore(self) -> None:
        """Go on from what `save` wrote, if it has written anything.

        Raises:
            UsageError: it was written under another plan.
        """
        file = self.folder / "state.pt"
        if not file.is_file():
            return
        state: dict[str, Any] = torch.load(file, map_location=self.plan.device, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise UsageError(
                f"{self.folder} holds a training under other settings ({json.dumps(state['plan'])}): "
                "repeat those, or name another folder with --out."
            )
        self.step, self.history = state["step"], state["history"]
        self.network.load_state_dict(state["network"])
        self.heads.load_state_dict(state["heads"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def _begin_with(self, start: Path) -> None:
        try:
            words = (start / "tokenizer.json").read_text(encoding="utf-8")
            weights = load_file(start / "model.safetensors")
        except OSError as error:
            raise UsageError(f"Cannot begin with {start}: {error}") from None
        shapes = {name: weight.shape for name, weight in self.network.named_parameters()}
        if (
            words != self.words.to_str(pretty=True)
            or {name: weight.shape for name, weight in weights.items()} != shapes
        ):
            raise UsageError(f"Cannot begin with {start}: its tokenizer or its shape is another than this recipe's.")
        self.network.load_state_dict(weights, strict=False)  # the output's weights are those of the input

    def _pace(self) -> float:
        """Return the share of the full learning rate: a warm-up, then a straight line down to zero."""
        return self.plan.rate * min((self.step + 1) / WARM_UP, 1 - self.step / self.plan.steps)

    def _parameters(self) -> Iterator[Tensor]:
        yield from self.network.parameters()
        yield from self.heads.parameters()

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross entropy of the answers' tokens, and that of all labels of a patch or of a reading."""
        tokens, targets = batch.tokens.to(self.plan.device), batch.targets.to(self.plan.device)
        embedded = self.network.model.text_model.embed_tokens(tokens)
        losses = {}
        if batch.pixels is not None and batch.patches is not None:
            seen = self._see(batch.pixels.to(self.plan.device))
            pictures = self.network.model.connector(seen)
            embedded = embedded.masked_scatter(
                (tokens == self.network.config.image_token_id)[..., None], pictures.to(embedded.dtype)
            )
            losses["patches"] = self._of_labels("patches", seen, batch.patches)
        hidden = self._read(batch.prefix.to(self.plan.device), embedded)
        if len(batch.readings):
            losses["readings"] = self._of_labels("readings", hidden[batch.read.to(self.plan.device)], batch.readings)
        learnt = targets != IGNORED
        losses["answer"] = cross_entropy(self.network.lm_head(hidden[learnt]).float(), targets[learnt])
        return losses

    def _of_labels(self, head: str, features: Tensor, truth: Tensor) -> Tensor:
        """Return the binary cross entropy of what a head makes of features, summed over its labels."""
        guesses = self.heads[head](features).float()
        return binary_cross_entropy_with_logits(guesses, truth.to(guesses)) * truth.shape[-1]

    def _see(self, pixels: Tensor) -> Tensor:
        """Return the vision tower's features of bytes (B, 3, 224, 224): (B, 256, width)."""
        scaled = (pixels.float() / 255 - 0.5) / 0.5  # as the image processor does
        features: Tensor = self.network.model.vision_model(pixel_values=scaled).last_hidden_state
        return features

    def _read(self, prefix: Tensor, embedded: Tensor) -> Tensor:
        """Return the decoder's features of `embedded` (B, T, width) after a prefix (P) that all rows share.

        The prefix, most of it the instructions, is computed once for the batch rather than once a row.
        """
        decoder = self.network.model.text_model
        rows, width, begin = len(embedded), embedded.shape[1], len(prefix)
        cache = DynamicCache(config=self.network.config.text_config)
        decoder(prefix[None], past_key_values=cache, use_cache=True)
        for layer in cache.layers:
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
        visible = torch.ones(width, begin + width, dtype=torch.bool, device=embedded.device).tril(begin)
        mask = torch.zeros(1, 1, *visible.shape, device=embedded.device).masked_fill(~visible, float("-inf"))
        positions = torch.arange(begin, begin + width, device=embedded.device)[None]
        with self._attention(begin + width):
            features: Tensor = decoder(
                inputs_embeds=embedded,
                past_key_values=cache,
                use_cache=True,
                attention_mask=mask.to(torch.bfloat16),
                position_ids=positions,
            ).last_hidden_state
        return features

    def _attention(self, tokens: int) -> AbstractContextManager[None]:
        """Choose how attention over so many tokens is computed, which changes nothing but the time that it takes."""
        plain = self.plan.device == "cpu" and tokens <= FEW_TOKENS
        return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


def _optimizers(named: Sequence[tuple[str, Tensor]]) -> list[Optimizer]:
    """Return Muon for the matrices inside the layers and AdamW for all other parameters."""
    inside = [weight for name, weight in named if weight.ndim == 2 and ("layers" in name or "connector" in name)]
    chosen = {id(weight) for weight in inside}
    others = [weight for _, weight in named if id(weight) not in chosen]
    return [
        Muon([{"params": inside, "full_lr": MATRIX_RATE}], lr=MATRIX_RATE, weight_decay=0.01),
        AdamW([{"params": others, "full_lr": OTHER_RATE}], lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _batches(smiles: Sequence[str], learner: Learner) -> Iterator[Batch]:
    """Yield the batches that are left, made ahead by another process."""
    plan, file = learner.plan, learner.folder / "tokenizer.json"
    learner.words.save(str(file))
    first = round(SMILES_FIRST * plan.steps)
    examples = Examples(smiles, prompt.load("describe"), str(file), plan.batch_size, plan.seed, first)
    yield from islice(_ahead(examples, learner.step), plan.steps - learner.step)


def _ahead(examples: Examples, first: int) -> Iterator[Batch]:
    return iter(
        DataLoader(ExampleStream(examples, first), batch_size=None, num_workers=1, prefetch_factor=BATCHES_AHEAD)
    )


class ExampleStream(IterableDataset[Batch]):
    """Batches of examples from a step on, for a process of a `DataLoader`."""

    def __init__(self, examples: Examples, first: int) -> None:
        self.examples, self.first = examples, first

    def __iter__(self) -> Iterator[Batch]:
        return self.examples.batches(self.first)


def _spoken(history: Sequence[dict[str, float]]) -> str:
    """Return the losses of the last steps as a few words."""
    return ", ".join(f"{name} {value:.3f}" for name, value in _means(history[-RECENT:]).items())


def _means(history: Sequence[dict[str, float]]) -> dict[str, float]:
    names = [name for name in LOSSES if any(name in entry for entry in history)]
    return {name: fmean(entry[name] for entry in history if name in entry) for name in names}


def draw_losses(history: Sequence[dict[str, float]], folder: Path) -> None:
    """Write the losses of all steps to `losses.json`, and their running means as a curve to `losses.png`."""
    (folder / "losses.json").write_text(strict_json.dumps(history) + "\n", encoding="utf-8")
    windows = [history[start : start + RECENT] for start in range(0, len(history), RECENT)]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, label in LOSSES.items():
        points = [(window[-1]["step"], means[name]) for window in windows if name in (means := _means(window))]
        axes.plot(*zip(*points, strict=True), label=label)
    axes.set(xlabel="step", yscale="log")
    axes.grid(alpha=0.3)
    if history:
        axes.legend()
    figure.savefig(folder / "losses.png", dpi=120)
