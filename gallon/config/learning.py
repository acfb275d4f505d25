"""The settings of learning: data, training, the transfer set, and what a student learns by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gallon.config.setting import RAY, Config, Setting, TableConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig(TableConfig):
    """What is learned from, and how it is split."""

    panel = "Data"

    target: Annotated[tuple[str, ...] | None, Setting(help="A column with labels; may be given several times.")] = None
    split: Annotated[str, Setting(help="scaffold, random-scaffold, scaffold-cv, random, time, or column.")] = "scaffold"
    split_column: Annotated[str | None, Setting(help="The column that says train, valid or test.")] = None
    time_column: Annotated[
        str | None,
        Setting(help="For --split time: the column that says when a row was measured (numbers, or dates)."),
    ] = None
    scaffold_chirality: Annotated[
        bool,
        Setting(flag="--scaffold-chirality", help="Tell scaffolds apart by chirality, as GALLON does."),
    ] = False
    data_root: Annotated[Path | None, Setting(help="Folder with copies of MoleculeNet's files.")] = None
    seed: Annotated[int, Setting(help="Seed of splits, training and folds.")] = 0


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How networks are trained."""

    panel = "Training"

    out: Annotated[Path | None, Setting(help="Folder of the results; default: gallon-models/DATA.")] = None
    overwrite: Annotated[
        bool,
        Setting(flag="--overwrite", help="Replace results of other data that are in the folder."),
    ] = False
    workers: Annotated[int | None, Setting(min=1, help="Training workers; default: one per GPU or core.")] = None
    encoder: Annotated[str, Setting(help="Text encoder: 'minilm', a Hugging Face id, or a folder.")] = "minilm"
    pooling: Annotated[
        str | None,
        Setting(
            help="What lm-fine-tuned makes of an encoder's tokens: mean (default), or cls, the first one's vector."
        ),
    ] = None
    predictions: Annotated[
        str | None,
        Setting(help="Spec of what the LLM itself predicts, by a prompt of `gallon prompt few-shot`."),
    ] = None
    ranking: Annotated[
        str | None,
        Setting(help="Spec of the LLM's order of candidates for neighbours, by a prompt of `gallon prompt rank`."),
    ] = None
    llm_budget: Annotated[
        float | None,
        Setting(
            min=0.0,
            max=1.0,
            help="Read annotations of this share of the molecules, as if no more could be had; with --service or by "
            "uncertainty, of the training part.",
        ),
    ] = None
    budget_by: Annotated[
        str,
        Setting(
            help="Which: coverage, degree, pagerank, cluster, length or random, as in `gallon choose --by`, or "
            "uncertainty: where networks disagree."
        ),
    ] = "coverage"
    service: Annotated[
        str | None,
        Setting(help="URL of a `gallon serve` that is asked, while training, what the store does not have."),
    ] = None
    llm_rounds: Annotated[
        int, Setting(min=1, help="Rounds that the budget is asked in, by uncertainty with a training before each.")
    ] = 1
    also_spec: Annotated[
        tuple[str, ...] | None,
        Setting(help="Another spec whose texts are read, too: a catalog of prompts; may be given several times."),
    ] = None
    texts_each: Annotated[
        int | None,
        Setting(min=1, help="Texts of a molecule, drawn out of its specs' (--seed); default: all, one behind another."),
    ] = None
    balance: Annotated[
        bool,
        Setting(flag="--balance", help="Give both classes the same weight in the loss of networks."),
    ] = False
    rules: Annotated[
        Path | None,
        Setting(help="Rules of the property (`gallon rules`), for the teacher 'rules' and for students."),
    ] = None
    ray: Annotated[str | None, RAY] = None

    @property
    def spent(self) -> dict[str, float | str]:
        """Which annotations were read, fit for JSON; empty where all were."""
        if self.llm_budget is None:
            return {}
        spent: dict[str, float | str] = {"llm_budget": self.llm_budget, "budget_by": self.budget_by}
        return {**spent, "llm_rounds": self.llm_rounds} if self.on_demand else spent

    @property
    def on_demand(self) -> bool:
        """Whether what is read is chosen while training, or asked for then."""
        return self.service is not None or self.budget_by == "uncertainty"


@dataclass(frozen=True, kw_only=True)
class RulesConfig(Config):
    """Which LLM is asked for rules, and how it samples."""

    panel = "LLM"

    model: Annotated[str, Setting(help="A Hugging Face id, the folder of a checkpoint, or the server's name for it.")]
    revision: Annotated[str | None, Setting(help="Branch, tag or commit of a Hugging Face model.")] = None
    endpoint: Annotated[
        str | None,
        Setting(help="URL of an OpenAI-compatible server; its key is read from GALLON_ENDPOINT_KEY."),
    ] = None
    samples: Annotated[int, Setting(min=1, max=64, help="Answers, whose rules are put together.")] = 4
    temperature: Annotated[float, Setting(min=0.0, max=2.0, help="Of the sampling.")] = 0.7
    max_tokens: Annotated[int, Setting(min=1, help="Longest answer.")] = 4096
    seed: Annotated[int, Setting(help="Of the first answer; the others count on.")] = 0
    tensor_parallel: Annotated[
        int, Setting(alias="--tensor-parallel-size", min=1, help="GPUs that share each layer of the model.")
    ] = 1
    max_model_len: Annotated[int | None, Setting(min=1, help="Context length in tokens; default: the model's.")] = None


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Config):
    """Unlabelled molecules that students also learn from."""

    panel = "Transfer set"

    transfer: Annotated[
        tuple[str, ...] | None,
        Setting(help="A library without labels: students also learn what teachers predict for its molecules."),
    ] = None
    transfer_rows: Annotated[
        int,
        Setting(
            min=1,
            help="Molecules to draw from it at random (--seed); all of it is read, about 10 s per million rows.",
            of="transfer",
        ),
    ] = 5_000


@dataclass(frozen=True, kw_only=True)
class TeachingConfig(Config):
    """A prepared library that students also learn from, streamed."""

    panel = "Library"

    library: Annotated[
        Path | None,
        Setting(help="A library prepared by `gallon prepare`: students also learn what graph teachers say of it."),
    ] = None
    library_molecules: Annotated[
        int | None, Setting(min=1, help="Molecules to draw from it at random (--seed); default: all.", of="library")
    ] = None
    library_epochs: Annotated[
        int | None,
        Setting(
            min=1,
            help="Times that training goes through them; default: 5, or as many as let labelled molecules come round "
            "as often as without a library.",
            of="library",
        ),
    ] = None
    library_batch: Annotated[
        int, Setting(min=8, help="Molecules of a step, labelled ones among them.", of="library")
    ] = 256
    labelled_share: Annotated[
        float, Setting(min=0.01, max=0.9, help="Share of every step that labelled molecules have.", of="library")
    ] = 0.25


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Config):
    """What a network learns of a prepared library, and how."""

    panel = "Pre-training"

    descriptor_weight: Annotated[
        float, Setting(min=0, help="Weight of the descriptors that the library was prepared with.")
    ] = 1.0
    field_weight: Annotated[float, Setting(min=0, help="Weight of the fields of annotations (`gallon embed`).")] = 1.0
    embedding_weight: Annotated[float, Setting(min=0, help="Weight of the embeddings of annotations.")] = 1.0
    alignment_weight: Annotated[
        float,
        Setting(min=0, help="Weight of telling which annotation is whose (contrastive, as CLIP); 0: off."),
    ] = 0.0
    library_molecules: Annotated[
        int | None, Setting(min=20, help="Molecules to draw from the library at random (--seed); default: all.")
    ] = None
    without: Annotated[
        tuple[str, ...] | None,
        Setting(help="Files whose molecules take no part, such as a table with labels; may be given several times."),
    ] = None
    smiles_column: Annotated[
        str | None, Setting(help="The column with the SMILES, in the tables of --without.", of="without")
    ] = None
    epochs: Annotated[int, Setting(min=1, help="Times that training goes through the library.")] = 5
    batch_size: Annotated[int, Setting(min=8, help="Molecules of a step.")] = 256
    seed: Annotated[int, Setting(help="Seed of the draw and of the training.")] = 0
    workers: Annotated[int | None, Setting(min=1, help="Training workers; default: one per GPU or core.")] = None
    ray: Annotated[str | None, RAY] = None


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Config):
    """The terms of a student's loss, and their weights."""

    panel = "Student"

    descriptors: Annotated[
        str,
        Setting(help="Descriptors beside a fingerprint: all (slow), lean, estimated (fast) or none."),
    ] = "lean"
    objective: Annotated[
        str | None,
        Setting(
            help="whitened (default): soft labels and whitened representations; gallon: as GALLON released it, soft "
            "labels of classes, representations as they are of numbers, all weights 0.1."
        ),
    ] = None
    soft_gnn: Annotated[
        float | None,
        Setting(min=0, help="Weight of the graph teachers' predictions; default: 0.5, with --transfer or --library 1."),
    ] = None
    soft_lm: Annotated[
        float | None, Setting(min=0, help="Weight of the language teachers' predictions; default: 0.5.")
    ] = None
    hidden_gnn: Annotated[
        float | None, Setting(min=0, help="Weight of the graph teachers' representations; default: 0.1.")
    ] = None
    hidden_lm: Annotated[
        float | None, Setting(min=0, help="Weight of the language teachers' representations; default: 0.1.")
    ] = None
    soft_temperature: Annotated[float, Setting(min=0.1, help="Temperature of the teachers' class probabilities.")] = 1.0
