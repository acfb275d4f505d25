"""The tiny model: the same wherever it is built, whole or not there, and fit to be trained and served."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem, RDConfig
from tokenizers import Tokenizer

from teacher import catalog
from teacher.depiction import draw
from teacher.tiny import ensure, model, recipe

ENSURE = "import sys; from pathlib import Path; from teacher.tiny import ensure; print(ensure(Path(sys.argv[1])))"


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def start(script: str, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(cache)], stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tokenizer(tiny: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny / "tokenizer.json"))


@pytest.fixture
def quick_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for `build` where only the cache is under test."""

    def build(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(recipe, "build", build)


def test_checkpoint_is_whole_and_small(tiny: Path) -> None:
    assert set(digests(tiny)) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(file.stat().st_size for file in tiny.iterdir()) < 10_000_000


def test_processes_building_at_once_leave_one_checkpoint_with_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    builders = [start(ENSURE, tmp_path) for _ in range(2)]
    found = {Path(builder.communicate()[0].strip()) for builder in builders}

    assert [builder.returncode for builder in builders] == [0, 0]
    assert found == set(tmp_path.iterdir()) == {tmp_path / tiny.name}
    assert digests(found.pop()) == digests(tiny)


def test_existing_checkpoint_is_found_without_heavy_imports(tiny: Path) -> None:
    script = (
        f"{ENSURE}; print(sorted({{'torch', 'transformers', 'tokenizers', 'rdkit', 'pydantic'}} & set(sys.modules)))"
    )
    folder, heavy = start(script, tiny.parent).communicate()[0].splitlines()

    assert Path(folder) == tiny
    assert heavy == "[]"


def test_half_written_folder_of_a_crash_is_ignored(tmp_path: Path, quick_build: None) -> None:
    crashed = tmp_path / f".{ensure(tmp_path / 'other').name}-0123"
    crashed.mkdir()
    (crashed / "config.json").write_text("{")

    assert (ensure(tmp_path) / "config.json").read_text() == "{}"


def test_failed_build_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, quick_build: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(recipe, "_flush", lambda folder: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            ensure(tmp_path)
        assert list(tmp_path.iterdir()) == []

    assert ensure(tmp_path).is_dir()


def test_faster_process_wins(tmp_path: Path, quick_build: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(aside: Path) -> None:
        other = tmp_path / aside.name[1:].rsplit("-", 1)[0]
        other.mkdir()
        (other / "config.json").write_text("by another process")

    monkeypatch.setattr(recipe, "_flush", meanwhile)
    folder = ensure(tmp_path)

    assert (folder / "config.json").read_text() == "by another process"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("changed", ["SEED", "CHAT_TEMPLATE", "QUIET"])
def test_another_recipe_is_another_folder(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe._digest()
    monkeypatch.setattr(recipe, changed, "changed")
    assert recipe._digest() != before


def test_another_shape_is_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe._digest()
    monkeypatch.setitem(model.TEXT, "num_hidden_layers", 3)
    assert recipe._digest() != before


@given(text=st.text())
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["", "🧪 naïve 分子\r\n\t\0", "a  b", "<image><end_of_utterance>", "C\\C=C/[13C@@H]"])
def test_odd_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_smiles_are_one_token_a_character(tokenizer: Tokenizer) -> None:
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()
    for smiles in (line.split()[0] for line in lines):
        in_prompt = tokenizer.encode(f"SMILES: {smiles}\n").tokens
        assert in_prompt[-len(smiles) - 1 :] == [*smiles, "Ċ"]


def test_describe_instructions_are_few_tokens(tokenizer: Tokenizer) -> None:
    instructions = catalog.load("describe").instructions
    assert len(tokenizer.encode(instructions).ids) < len(instructions) / 3.5


def test_special_tokens_are_where_the_settings_say(tiny: Path, tokenizer: Tokenizer) -> None:
    config = json.loads((tiny / "config.json").read_text())
    generation = json.loads((tiny / "generation_config.json").read_text())

    assert config["image_token_id"] == tokenizer.token_to_id("<image>")
    assert generation["eos_token_id"] == config["eos_token_id"] == tokenizer.token_to_id("<end_of_utterance>")
    assert config["text_config"]["vocab_size"] == tokenizer.get_vocab_size()


def test_transformers_loads_it_and_the_picture_matters(tiny: Path) -> None:
    import torch
    from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

    network, report = Idefics3ForConditionalGeneration.from_pretrained(tiny, output_loading_info=True)
    processor = Idefics3Processor.from_pretrained(tiny)
    content = [{"type": "text", "text": "Drawing: "}, {"type": "image"}, {"type": "text", "text": "\nSMILES: CCO"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def logits(smiles: str) -> torch.Tensor:
        picture = draw(Chem.MolFromSmiles(smiles), 224)
        inputs = processor(images=[picture], text=text, return_tensors="pt")
        assert (inputs["input_ids"] == network.config.image_token_id).sum() == model.IMAGE_TOKENS
        with torch.no_grad():
            return network(**inputs).logits[0, -1].float()

    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert network.num_parameters() < 4_800_000
    assert text == "User: Drawing: <image>\nSMILES: CCO<end_of_utterance>\nAssistant:"
    assert logits("CCO").isfinite().all()
    assert (logits("CCO") - logits("c1ccccc1Cl")).abs().max() > 0.1
