"""The tiny model: fit to be served, taught the truth, and never taught what it is tested with."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from tokenizers import Tokenizer

from teacher.chemistry.depiction import draw, draw_and_locate
from teacher.chemistry.facts import Facts, facts_of, mentioned_groups
from teacher.chemistry.molecule import key_of, parse
from teacher.errors import UsageError
from teacher.llm import prompt
from teacher.llm.models import CHECKPOINT
from teacher.llm.prompt import Prompt
from teacher.llm.validation import validate
from teacher.tiny import answers, corpus, evaluate, examples, library, model, patches, readings, tokenizer
from teacher.tiny.examples import Batch, Examples

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture(scope="session")
def words() -> Tokenizer:
    return Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))


@pytest.fixture(scope="session")
def nci() -> list[str]:
    return library.read(None)


@pytest.fixture
def stream(nci: list[str], describe: Prompt) -> Examples:
    return Examples(nci, describe, str(CHECKPOINT / "tokenizer.json"), batch_size=4, seed=0)


def test_checkpoint_is_whole_and_small() -> None:
    assert {file.name for file in CHECKPOINT.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 10_000_000


def test_more_prompts_and_groups_make_no_other_tokenizer(
    words: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else nobody could train the shipped weights on."""
    for file in prompt.PROMPTS.glob("*.yaml"):
        (tmp_path / file.name).write_text(f"# Another comment\n{file.read_text()}")
    (tmp_path / "another.yaml").write_text((tmp_path / "describe.yaml").read_text().replace("describe", "another"))
    monkeypatch.setattr(prompt, "PROMPTS", tmp_path)
    monkeypatch.setattr("teacher.chemistry.facts.vocabulary", lambda: ("unheard-of group",))
    assert "another" in prompt.names()
    trained = json.loads(tokenizer.train(corpus.texts()).to_str())["model"]
    shipped = json.loads(words.to_str())["model"]
    assert (trained["vocab"], trained["merges"]) == (shipped["vocab"], shipped["merges"])


@given(text=st.text())
def test_any_text_comes_back(words: Tokenizer, text: str) -> None:
    assert words.decode(words.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["", "🧪 naïve 分子\r\n\t\0", "a  b", "<image><end_of_utterance>", "C\\C=C/[13C@@H]"])
def test_odd_text_comes_back(words: Tokenizer, text: str) -> None:
    assert words.decode(words.encode(text).ids, skip_special_tokens=False) == text


def test_smiles_are_one_token_a_character(words: Tokenizer, nci: list[str]) -> None:
    for smiles in nci:
        in_prompt = words.encode(f"SMILES: {smiles}\n").tokens
        assert in_prompt[-len(smiles) - 1 :] == [*smiles, "Ċ"]


def test_describe_instructions_are_few_tokens(words: Tokenizer) -> None:
    instructions = prompt.load("describe").instructions
    assert len(words.encode(instructions).ids) < len(instructions) / 3.5


def test_special_tokens_are_where_the_settings_say(words: Tokenizer) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    generation = json.loads((CHECKPOINT / "generation_config.json").read_text())

    assert config["image_token_id"] == words.token_to_id("<image>")
    assert generation["eos_token_id"] == config["eos_token_id"] == words.token_to_id("<end_of_utterance>")
    assert config["text_config"]["vocab_size"] == words.get_vocab_size()


def test_transformers_loads_it_and_the_picture_matters() -> None:
    import torch
    from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

    network, report = Idefics3ForConditionalGeneration.from_pretrained(CHECKPOINT, output_loading_info=True)
    processor = Idefics3Processor.from_pretrained(CHECKPOINT)
    content = [{"type": "text", "text": "Drawing: "}, {"type": "image"}, {"type": "text", "text": "\nSMILES: CCO"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def logits(smiles: str) -> torch.Tensor:
        picture = draw(Chem.MolFromSmiles(smiles), model.IMAGE_SIZE)
        inputs = processor(images=[picture], text=text, return_tensors="pt")
        assert (inputs["input_ids"] == network.config.image_token_id).sum() == model.IMAGE_TOKENS
        with torch.no_grad():
            return network(**inputs).logits[0, -1].float()

    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert text == "User: Drawing: <image>\nSMILES: CCO<end_of_utterance>\nAssistant:"
    assert logits("CCO").isfinite().all()
    assert (logits("CCO") - logits("c1ccccc1Cl")).abs().max() > 0.1


def test_answers_to_learn_follow_the_schema_and_are_true(nci: list[str], describe: Prompt) -> None:
    for smiles in nci[:500]:
        mol = parse(smiles.encode()).mol
        facts = facts_of(mol)
        checked = validate(answers.write(facts, mol, Random(smiles)), "stop", describe.json_schema, facts)
        assert checked.grounding.score == 1
        assert mentioned_groups(checked.fields["description"]) <= set(facts.functional_groups)


@pytest.mark.parametrize(
    ("groups", "rings", "heavy_atoms", "systems", "description"),
    [
        ((), (0, 0), 3, 0, "A small molecule with no rings. It carries no common functional group."),
        (("ether",), (1, 0), 15, 1, "A midsized molecule with one aromatic ring. It carries an ether group."),
        (
            ("phenol", "amide"),
            (2, 1),
            31,
            2,
            "A large molecule with two aromatic rings and one aliphatic ring in two ring systems. "
            "It carries phenol and amide groups.",
        ),
        (
            ("ether", "amide", "urea", "nitro", "fluoro"),
            (0, 13),
            30,
            1,
            "A midsized molecule with 13 aliphatic rings in one ring system. "
            "It carries ether, amide, urea, nitro and other groups.",
        ),
    ],
)
def test_descriptions_are_plain_sentences(
    groups: tuple[str, ...], rings: tuple[int, int], heavy_atoms: int, systems: int, description: str
) -> None:
    facts = Facts(groups, *rings, "low", "high")
    assert answers.describe(facts, heavy_atoms, systems, answers.SENTENCES[0]) == description


@pytest.mark.parametrize(
    ("smiles", "systems"), [("CCO", 0), ("c1ccc2ccccc2c1", 1), ("c1ccccc1-c1ccccc1", 2), ("C1CCC2(CC1)CCCC2.C1CC1", 2)]
)
def test_rings_that_share_an_atom_are_one_system(smiles: str, systems: int) -> None:
    assert answers.ring_systems(Chem.MolFromSmiles(smiles)) == systems


def test_what_is_held_out_is_fixed_for_ever() -> None:
    held = [number for number in range(1, 100) if examples.held_out(key_of("C" * number))]
    assert held == [16, 30, 45, 56, 60, 62, 63]


def test_no_held_out_molecule_is_learnt_from_and_only_those_are_tested(
    nci: list[str], stream: Examples, words: Tokenizer
) -> None:
    learnt = [question for batch in islice(stream.batches(0), 16) for question in questions(batch, words)]
    shown = {question.split("SMILES: ")[1].split("\n")[0] for question in learnt if "SMILES: " in question}
    tested = {molecule.smiles for molecule in evaluate.sample(nci, 100)}

    assert len(shown) > 20 and len(tested) == 100
    assert not any(examples.held_out(key_of(smiles)) for smiles in shown)
    assert all(examples.held_out(key_of(smiles)) for smiles in tested)


def questions(batch: Batch, words: Tokenizer) -> list[str]:
    rows = [words.decode(row, skip_special_tokens=False) for row in batch.tokens.tolist()]
    return [words.decode(batch.prefix.tolist(), skip_special_tokens=False) + row for row in rows]


def test_the_test_set_does_not_depend_on_chance(nci: list[str]) -> None:
    assert evaluate.digest_of(evaluate.sample(nci, 50)) == evaluate.digest_of(evaluate.sample(nci, 50))
    assert evaluate.digest_of(evaluate.sample(nci, 50)) != evaluate.digest_of(evaluate.sample(nci, 51))


def test_examples_say_the_answer_and_nothing_else(stream: Examples, words: Tokenizer, describe: Prompt) -> None:
    for batch in islice(stream.batches(0), 8):
        for question, row in zip(questions(batch, words), batch.targets.tolist(), strict=True):
            tokens = [token for token in row if token != examples.IGNORED]
            answer, asked = (words.decode(part, skip_special_tokens=False) for part in (tokens, tokens[:-1]))
            assert answer.startswith('{"functional_groups":[')
            assert answer.endswith(('"}<end_of_utterance>', '"description'))
            assert question.replace("<pad>", "").endswith(asked)  # the last token is never an input


def test_some_questions_come_with_the_instructions(stream: Examples, words: Tokenizer, describe: Prompt) -> None:
    asked = [question for batch in islice(stream.batches(0), 32) for question in questions(batch, words)]
    instructed = [question.startswith(f"User: {describe.instructions.strip()}\n") for question in asked]
    assert 0.1 < sum(instructed) / len(asked) < 0.6


def test_a_stream_of_examples_goes_on_where_it_was_left(stream: Examples) -> None:
    whole = list(islice(stream.batches(0), 12))
    rest = list(islice(stream.batches(9), 3))
    assert [batch.tokens.tolist() for batch in rest] == [batch.tokens.tolist() for batch in whole[9:]]


def test_each_way_to_show_a_molecule_gets_its_turn(stream: Examples, words: Tokenizer) -> None:
    seen = set()
    for batch in islice(stream.batches(0), 100):
        question = questions(batch, words)[0]
        assert (batch.pixels is not None) == ("<image>" in question)
        seen.add(("SMILES: " in question, batch.pixels is not None, "Bonds between" in question))
    assert seen == {(lesson.smiles, lesson.picture, lesson.graph) for lesson in examples.LESSONS}


def test_smiles_come_first_and_alone(stream: Examples, words: Tokenizer) -> None:
    taught = list(islice(replace(stream, smiles_first=examples.BATCHES_SORTED).batches(0), 64))
    first, later = taught[: examples.BATCHES_SORTED], taught[examples.BATCHES_SORTED :]
    assert all(batch.pixels is None for batch in first)
    assert all("SMILES: " in question for batch in first for question in questions(batch, words))
    assert 0 < sum(batch.pixels is not None for batch in later) < len(later)


def test_patches_are_labelled_where_the_drawing_shows_it() -> None:
    mol = parse(ASPIRIN.encode()).mol
    image, places = draw_and_locate(mol, model.IMAGE_SIZE)
    seen = dict(zip(patches.labels(), patches.seen(mol, places).T, strict=True))
    pixels = np.asarray(image).astype(int)
    red = (pixels[..., 0] - pixels[..., 1:].max(axis=-1)) > 100
    side, size = model.PATCHES, model.PATCH_SIZE
    red_patches = red.reshape(side, size, side, size).any(axis=(1, 3)).ravel()

    assert seen["O"].sum() == 4 and red_patches[seen["O"]].all()
    assert seen["aromatic"].sum() == 6 and not (seen["aromatic"] & ~seen["in a ring"]).any()
    assert (seen["carboxylic acid"] & seen["O"]).sum() == 2
    assert not seen["N"].any() and not seen["amide"].any()


def test_readings_say_what_is_complete_so_far() -> None:
    molecule = parse(b"OC(=O)c1ccccc1CCl")
    assert molecule.smiles == "O=C(O)c1ccccc1CCl"
    so_far = readings.in_smiles(molecule)
    columns = {label: number for number, label in enumerate(readings.labels())}
    begins = {label: int(so_far[:, column].argmax()) for label, column in columns.items() if so_far[:, column].any()}
    assert begins == {
        "TPSA >= 20": 5,
        "carboxylic acid": 8,
        "aromatic rings >= 1": 14,
        "chloro": 17,
        "logP >= -1": 0,
        "logP >= 0": 0,
        "logP >= 1": 12,
        "logP >= 2": 17,
    }


def test_the_last_reading_is_the_whole_truth(nci: list[str]) -> None:
    for smiles in nci[:500]:
        molecule = parse(smiles.encode())
        facts = facts_of(molecule.mol)
        holds = {label for label, held in zip(readings.labels(), readings.in_smiles(molecule)[-1], strict=True) if held}
        assert {label for label in holds if ">=" not in label} == set(facts.functional_groups)
        assert sum("aromatic" in label for label in holds if ">=" in label) == min(facts.aromatic_rings, 6)
        assert sum("aliphatic" in label for label in holds if ">=" in label) == min(facts.aliphatic_rings, 6)
        assert facts.polarity == ("low", "medium", "high")[sum(f"TPSA >= {least}" in holds for least in (60, 120))]
        assert facts.lipophilicity == ("low", "medium", "high")[sum(f"logP >= {least}" in holds for least in (1, 3))]


def test_a_drawing_is_read_tile_by_tile(nci: list[str]) -> None:
    for smiles in nci[:200]:
        molecule = parse(smiles.encode())
        _, places = draw_and_locate(molecule.mol, model.IMAGE_SIZE)
        so_far = readings.in_picture(molecule.mol, places)
        assert so_far.shape == (model.IMAGE_TOKENS + 1, len(readings.labels()))
        assert (so_far[-1] == readings.in_smiles(molecule)[-1]).all()
    corners = [(1.0, 1.0), (223.0, 1.0), (223.0, 223.0)]  # of the tiles 0, 3 and 15
    begins = readings.in_picture(Chem.MolFromSmiles("CCO"), corners)[:, readings.labels().index("alcohol")].argmax()
    assert begins == 16


def test_readings_stand_at_the_smiles_and_at_the_tiles(stream: Examples, words: Tokenizer) -> None:
    for batch in islice(stream.batches(0), 16):
        assert int(batch.read.sum()) == len(batch.readings)
        for row, question in enumerate(questions(batch, words)):
            read = words.decode(batch.tokens[row][batch.read[row]].tolist(), skip_special_tokens=False)
            tiles, after, smiles = read.rpartition("<fake_token_around_image>")
            assert tiles == ("<image>" * model.IMAGE_TOKENS if batch.pixels is not None else "")
            assert bool(after) == (batch.pixels is not None)
            assert bool(smiles) == ("SMILES: " in question)
            assert not smiles or question.split("SMILES: ")[1].split("\n")[0].endswith(smiles.removesuffix("\n"))


def test_a_drawing_with_places_is_the_drawing() -> None:
    mol = parse(ASPIRIN.encode()).mol
    image, places = draw_and_locate(mol, 224)
    assert image.tobytes() == draw(mol, 224).tobytes()
    assert len(places) == mol.GetNumAtoms()


def test_a_library_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*nowhere\.smi"):
        library.read([tmp_path / "nowhere.smi"])
