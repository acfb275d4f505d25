from __future__ import annotations

import errno
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from distill.data.moleculenet import SETS
from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.facts import vocabulary
from teacher.errors import UsageError
from teacher.llm.prompt import Picture, load, names, task_text, tasks
from teacher.llm.request import sampling_of
from teacher.llm.spec import Model, PromptRef, Samples, Sampling, Spec
from tests.support.prompts import PROMPT


def make_spec(**changes) -> Spec:
    fields = {
        "model": Model(name="tiny", revision="1"),
        "prompt": PromptRef.of(load("describe")),
        "image_size": 224,
        "sampling": Sampling(max_tokens=100),
    }
    return Spec(**{**fields, **changes})


@pytest.mark.parametrize("name", names())
def test_every_prompt_of_the_catalog_loads_under_its_name(name: str) -> None:
    assert load(name).name == name


def test_the_catalog_has_the_prompts_that_the_guide_names() -> None:
    assert names() == ["describe", "describe-cot", "describe-with-facts", "gallon"]


def test_prompts_and_specs_from_before_there_were_later_keys_keep_their_ids() -> None:
    assert load("describe").digest.startswith("872f2dcf7fef6822")
    assert load("gallon").digest.startswith("ef51d09faefd4f10")
    assert make_spec().id == "963a356deffef73e"


def test_reasoning_comes_before_claims() -> None:
    prompt = load("describe-cot")
    assert prompt.json_schema is not None
    fields = list(prompt.json_schema["properties"])
    assert fields[0] == prompt.json_schema["required"][0] == "reasoning"
    assert prompt.max_tokens > 2 * load("describe").max_tokens


def test_facts_stand_between_the_molecule_and_the_closing() -> None:
    prompt = load("describe-with-facts")
    (text,) = prompt.render(task=None, smiles="C", facts="formula CH4")
    assert text.endswith(f"\nSMILES: C\nFacts: formula CH4\n{prompt.closing}")
    assert "Facts:" not in load("describe").render(task=None, smiles="C", facts="formula CH4")[0]


@pytest.mark.parametrize("key", ["instructions", "closing", "system"])
def test_a_column_outside_its_line_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**PROMPT, key: "In {column:solvent}."}))
    with pytest.raises(UsageError, match=f"{key}: {{column:solvent}} belongs into the line 'columns'"):
        load(str(path))


def test_describe_lists_the_whole_vocabulary_in_text_and_schema() -> None:
    prompt = load("describe")
    assert prompt.json_schema is not None
    groups = prompt.json_schema["properties"]["functional_groups"]["items"]["enum"]
    assert groups == list(vocabulary())
    assert ", ".join(vocabulary()) in prompt.instructions
    assert not prompt.needs_task


def test_gallon_takes_a_task_and_has_no_schema() -> None:
    prompt = load("gallon")
    content = prompt.render(task="Is it soluble {smiles}?", smiles="CCO")
    assert prompt.needs_task
    assert prompt.json_schema is None
    assert "Is it soluble {smiles}?" in content[0]


def test_a_modality_that_is_left_out_leaves_no_trace() -> None:
    prompt = load("describe")
    picture = Picture(image=None, uuid="x")  # type: ignore[arg-type]
    graph = prompt.graph.replace("{graph}", "C0-C1 C1-O2")
    before, shown, after = prompt.render(task=None, smiles="CCO", picture=picture, graph="C0-C1 C1-O2")
    assert isinstance(before, str)
    assert before.endswith(f"\n{prompt.image}\n")
    assert shown is picture
    assert after == f"\nSMILES: CCO\n{graph}\n{prompt.closing}"
    (text,) = prompt.render(task=None, smiles=None, graph="C0-C1 C1-O2")
    assert text == f"{prompt.instructions.strip()}\n{graph}\n{prompt.closing}"


def test_a_prompt_file_of_ones_own_is_taken_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nversion: 2\nsummary: s\nmax_tokens: 5\ninstructions: Look.\nimage: 'Drawing:'\n"
        "smiles: 'SMILES: {smiles}'\ngraph: '{graph}'\nclosing: 'Answer:'\n"
    )
    assert (load(str(path)).name, load(str(path)).version) == ("mine", 2)


@pytest.mark.parametrize("text", ["name: x\n", "{", "- 1\n", "name: mine\nsmiles: no place\n"])
def test_a_bad_prompt_file_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not") as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_prompt_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="describe, describe-cot, describe-with-facts, gallon"):
        load("descrbe")


@pytest.mark.parametrize(
    "change",
    [
        {"model": Model(name="tiny", revision="2")},
        {"model": Model(name="tiny", revision="1", dtype="float32")},
        {"prompt": PromptRef.of(load("gallon"))},
        {"task": "solubility"},
        {"smiles": False},
        {"image_size": 256},
        {"image_size": None},
        {"graph": False},
        {"sampling": Sampling(max_tokens=101)},
        {"sampling": Sampling(max_tokens=100, seed=1)},
        {"structured": False},
        {"min_grounding": 0.5},
        {"facts": True},
    ],
)
def test_everything_in_a_spec_decides_its_id(change: dict) -> None:
    assert make_spec(**change).id != make_spec().id


def test_a_prompt_that_is_given_as_its_text_is_told_in_one_line() -> None:
    text = "You are an expert chemist.\n" * 500
    with pytest.raises(UsageError, match=r"There is no prompt 'You are an expert chemist\. .* \.\.\.': choose") as told:
        load(text)
    assert len(str(told.value)) < 300 and "\n" not in str(told.value)


def test_a_prompt_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "prompt.yaml").write_text("name: own\n")
    monkeypatch.setattr(Path, "read_text", refused)  # whoever runs the tests as root may read any file
    with pytest.raises(UsageError, match=r"prompt\.yaml cannot be read: Permission denied\."):
        load(str(tmp_path / "prompt.yaml"))


def test_a_spec_read_back_from_json_keeps_its_id() -> None:
    spec = make_spec(task="µ-opioid")
    assert Spec.model_validate_json(spec.model_dump_json()).id == spec.id


def test_a_spec_that_shows_nothing_of_the_molecule_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be given"):
        make_spec(smiles=False, image_size=None, graph=False)


def test_a_retry_draws_anew_and_gets_more_tokens_only_if_it_was_cut_off() -> None:
    sampling = Sampling(max_tokens=100, seed=7)
    assert sampling.retry_sampling(0, cut_off=False) == sampling
    again = sampling.retry_sampling(2, cut_off=False)
    assert (again.seed, again.max_tokens) == (9, 100)
    assert again.temperature > 0
    assert sampling.retry_sampling(2, cut_off=True).max_tokens == 200


def test_a_retry_of_several_samples_draws_none_of_them_again() -> None:
    spec = make_spec(sampling=Sampling(max_tokens=100, temperature=0.7, seed=7), samples=Samples(number=8))
    firsts = [sampling_of(spec, attempt).seed for attempt in range(4)]
    drawn = [seed + sample for seed in firsts for sample in range(8)]  # as vLLM gives them seeds
    assert firsts[0] == 7 and len(set(drawn)) == 4 * 8


def test_each_set_that_gallon_learns_has_a_question_by_its_name_that_asks_for_no_label() -> None:
    assert set(tasks()) == {"bace", "bbbp", "clintox", "esol", "freesolv", "hiv", "lipo"}
    assert set(tasks()) <= set(SETS)
    asked = resolve_spec(SpecConfig(prompt="gallon", task="esol")).spec
    assert asked.task == tasks()["esol"] == task_text("esol") and "soluble" in asked.task
    own = "Does it smell?"
    assert resolve_spec(SpecConfig(prompt="gallon", task=own)).spec.task == own
