"""The spec: everything that decides an annotation. Its hash is the spec id."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from teacher.llm.adapter import Adapter
from teacher.llm.prompt import Prompt
from teacher.llm.thinking import Thinking
from teacher.provenance import compact_digest

SPEC_VERSION = 1
LATER_SETTINGS = ("arguments", "thinking", "adapter", "facts", "columns", "samples")
Keep = Literal["best", "vote", "all"]
DIGEST = "sha256:"  # begins the revision of a model that is known by its files


class Frozen(BaseModel):
    """A setting that cannot change after it was made, and knows no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(Frozen):
    """The LLM: a repository and its commit, or a folder's name, for people, and the digest of its files."""

    name: str
    revision: str
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    quantization: str | None = None


class Sampling(Frozen):
    """How an answer is drawn. Temperature 0 is greedy."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(ge=1)
    seed: int = 0

    def retry_sampling(self, attempt: int, cut_off: bool, answers: int = 1) -> Sampling:
        """Return the sampling of retry number `attempt` (0 is the first try).

        A retry draws with another seed, at a temperature that lets the seed matter, and with half as many tokens
        again for each retry when the last answer was cut off.

        Args:
            attempt: its number.
            cut_off: whether the last answer was.
            answers: to one request. vLLM draws them with seeds from this one on, none of which was drawn with before.
        """
        if attempt == 0:
            return self
        return self.model_copy(
            update={
                "temperature": max(self.temperature, 0.5),
                "seed": self.seed + attempt * answers,
                "max_tokens": round(self.max_tokens * (1 + 0.5 * attempt)) if cut_off else self.max_tokens,
            }
        )


class PromptRef(Frozen):
    """Which prompt: its name and version for people, its digest for certainty."""

    name: str
    version: int
    digest: str

    @classmethod
    def of(cls, prompt: Prompt) -> PromptRef:
        """Refer to `prompt`."""
        return cls(name=prompt.name, version=prompt.version, digest=prompt.digest)


class Samples(Frozen):
    """Several answers to one request.

    Attributes:
        number: of answers.
        keep: the one that agrees best with RDKit ("best"), what most of them say, field by field ("vote"), or the best
            one and the texts of all of them beside it ("all").
    """

    number: int = Field(ge=2, le=64)
    keep: Keep = "best"


class Spec(Frozen):
    """Everything that decides an annotation: the same molecule and the same spec is the same record.

    Attributes:
        task: what the prompt's `{task}` is filled with.
        smiles, graph, facts: whether the LLM is given them; `facts` is what RDKit computes of the molecule.
        image_size: side of the drawn structure in pixels; None leaves the picture out.
        sampling: None where it is not known (annotations made elsewhere).
        structured: whether the answer is held to the prompt's schema while it is written.
        min_grounding: the least agreement with RDKit at which an answer is accepted.
        columns: of the molecule's row, whose cells the LLM is given; a record is then of a molecule and its cells.
        arguments: of vLLM's engine, those that may change the text (`teacher.llm.engines.vllm_arguments`).
        thinking: whether the LLM thinks before it answers; None leaves it to its chat template.
        adapter: a LoRA on top of the model.
        samples: how many answers are drawn, and what is kept of them; None for one.
    """

    version: int = SPEC_VERSION
    model: Model
    prompt: PromptRef
    task: str | None = None
    smiles: bool = True
    image_size: int | None = Field(default=None, ge=32, le=2048)
    graph: bool = True
    sampling: Sampling | None
    structured: bool = True
    min_grounding: float = Field(default=0.0, ge=0.0, le=1.0)
    arguments: dict[str, Any] = Field(default_factory=dict)
    thinking: Thinking | None = None
    adapter: Adapter | None = None
    facts: bool = False
    columns: tuple[str, ...] = ()
    samples: Samples | None = None

    @model_validator(mode="after")
    def _shows_the_molecule(self) -> Spec:
        if not (self.smiles or self.graph or self.image_size):
            raise ValueError("the LLM must be given the SMILES, the picture or the graph")
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> Spec:
        if self.samples and self.sampling and self.sampling.temperature == 0:
            raise ValueError("samples at temperature 0 are all alike: give --temperature with --samples")
        return self

    @property
    def answers(self) -> int:
        """How many answers to one request are drawn."""
        return self.samples.number if self.samples else 1

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the spec, but for the names of what is known by its files."""
        facts = self.model_dump()
        if self.model.revision.startswith(DIGEST):
            del facts["model"]["name"]
        if self.adapter:
            del facts["adapter"]["name"]
        for later in LATER_SETTINGS:  # there were specs before there were these
            if not facts[later]:
                del facts[later]
        return compact_digest(facts, 16)
