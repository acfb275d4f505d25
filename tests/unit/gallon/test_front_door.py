"""`import gallon`: light, complete, and with the options of the command line."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

import gallon
from cluster.store.store import Row, Store
from distill.models.packing import card_of
from gallon.api.evaluation import default_seeds
from gallon.config import DataConfig, EngineConfig, LibraryConfig, SpecConfig, TrainConfig
from gallon.flat import flat
from teacher.chemistry.molecule import key_of
from teacher.errors import EngineDeadError, UsageError
from teacher.llm.describer import Describer
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.models import TARGET, untrained_student
from tests.support.records import record
from tests.support.scripted import Script, true_answer
from tests.support.server import KEY, MODEL, Behaviour, serving


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_student(tmp_path_factory.mktemp("student"))


def fresh(code: str) -> str:
    """Run code in a new process, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_is_light() -> None:
    heavy = "{'torch', 'ray', 'vllm', 'pandas', 'redis', 'rdkit'}"
    assert fresh(f"import gallon, sys; print({heavy} & set(sys.modules), len(gallon.__all__) > 20)") == "set() True"


def test_every_name_of_the_front_door_is_there_and_known_to_type_checkers() -> None:
    for name in gallon.__all__:
        assert getattr(gallon, name) is not None
    assert set(gallon.__all__) <= set(dir(gallon))
    tree = ast.parse(Path(str(gallon.__file__)).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    declared = [node.target for node in checked.body if isinstance(node, ast.AnnAssign)]
    known = {alias.asname or alias.name for node in imports for alias in node.names}
    known |= {target.id for target in declared if isinstance(target, ast.Name)}
    assert set(gallon.__all__) - {"__version__"} <= known
    with pytest.raises(AttributeError, match="no attribute 'anotate'"):
        gallon.anotate  # type: ignore[attr-defined]  # noqa: B018


def test_a_call_takes_the_options_of_the_command_line() -> None:
    shown = inspect.signature(gallon.annotate).parameters
    assert shown["model"].default == "tiny" and shown["workers"].default is None and "spec" not in shown
    with pytest.raises(TypeError, match="unexpected keyword argument 'modle'"):
        gallon.annotate("library.smi", modle="tiny")


def test_options_reach_the_configuration_that_they_belong_to() -> None:
    @flat
    def call(library: str, *, spec: SpecConfig, engine: EngineConfig, store: str = "here") -> tuple:
        return library, spec.model, engine.workers, store

    assert call("a.smi", workers=3, model="m") == ("a.smi", "m", 3, "here")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SpecConfig(temperature=3), "temperature must be at most 2, and is 3"),
        (lambda: EngineConfig(workers=0), "workers must be at least 1, and is 0"),
        (lambda: LibraryConfig(limit=-1), "limit must be at least 1, and is -1"),
    ],
)
def test_a_value_outside_its_limits_is_refused_in_one_sentence(make, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make()


def test_one_stands_for_several_and_a_string_for_a_path() -> None:
    assert DataConfig(target="logS").target == ("logS",)
    assert DataConfig(target=["a", "b"]).target == ("a", "b")
    assert TrainConfig(out="models").out == Path("models")


def test_a_student_predicts_whatever_holds_molecules(student: Path) -> None:
    model = gallon.load(str(student))
    expected = model.predict(["CCO", "c1ccccc1"])
    assert list(expected.columns) == [TARGET, "error"] and expected["error"].isna().all()
    series = pd.Series(["CCO", "c1ccccc1"], index=["a", "b"])
    for given in (
        [Chem.MolFromSmiles("CCO"), Chem.MolFromSmiles("c1ccccc1")],
        series,
        pd.DataFrame({"SMILES": series, "id": 1}),
        pd.DataFrame({"structure": series, "smiles": "C"}),
    ):
        column = "structure" if "structure" in given else None
        predicted = model.predict(given, smiles_column=column)
        assert predicted[TARGET].to_numpy() == pytest.approx(expected[TARGET].to_numpy(), rel=1e-5)
        assert list(predicted.index) == (
            ["a", "b"] if hasattr(given, "index") and not isinstance(given, list) else [0, 1]
        )
    assert model.predict("CCO")[TARGET][0] == pytest.approx(expected[TARGET][0], rel=1e-5)
    assert len(model.predict([])) == 0


@pytest.mark.parametrize("smiles", ["OCCOc1ccccc1", "F/C=C/Cl", "N[C@@H](C)C(=O)O"])
def test_a_molecule_is_predicted_as_its_smiles_is_however_rdkit_holds_it(student: Path, smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    kekulized = Chem.Mol(mol)
    Chem.Kekulize(kekulized, clearAromaticFlags=True)
    held = [mol, Chem.AddHs(mol), kekulized, Chem.MolFromSmiles(smiles, sanitize=False)]
    model = gallon.load(student)
    expected = model.predict(smiles)[TARGET][0]
    assert model.predict(held)[TARGET].to_numpy() == pytest.approx(np.full(len(held), expected), rel=1e-5)
    assert model.values(held)[:, 0] == pytest.approx(np.full(len(held), expected), rel=1e-5)
    assert "is empty" in model.predict(Chem.Mol())["error"][0]


@pytest.mark.parametrize("doubt", [False, True])
def test_numbers_have_the_same_type_with_and_without_a_molecule(student: Path, doubt: bool) -> None:
    model = gallon.load(student)
    tables = [model.predict(given, doubt=doubt) for given in (["CCO"], ["not"], [])]
    numbers = [table.select_dtypes("number").dtypes.to_dict() for table in tables]
    assert TARGET in numbers[0] and numbers == [numbers[0]] * 3
    assert [list(table.columns) for table in tables] == [list(tables[0].columns)] * 3


def test_what_is_no_molecule_is_left_open_with_the_reason_or_refused(student: Path) -> None:
    model = gallon.load(student)
    predicted = model.predict(["CCO", "not", None, "C" * 5_000])
    assert predicted[TARGET].isna().tolist() == [False, True, True, True]
    assert predicted["error"].isna().tolist() == [True, False, False, False]
    with pytest.raises(UsageError, match="Molecule 1, 'not', "):
        model.predict(["CCO", "not"], invalid="raise")
    with pytest.raises(UsageError, match="no column with a usual name for SMILES"):
        model.predict(pd.DataFrame({"id": [1]}))


def test_a_prediction_tells_how_far_to_trust_it(student: Path) -> None:
    model = gallon.load(student)
    predicted = model.predict(["CCCCCO", "not", "c1ccc2[nH]ccc2c1"], doubt=True)
    assert list(predicted.columns) == [
        *(TARGET, f"{TARGET}_low", f"{TARGET}_high", "similarity", "nearest_training", "in_domain", "error")
    ]
    assert predicted["nearest_training"][0] == "CCCCCO" and predicted["similarity"][0] == 1
    assert predicted["in_domain"].tolist() == [True, None, False]
    assert predicted.drop(columns="error").loc[1].isna().all()
    plain = model.predict(["CCCCCO"])
    assert predicted[TARGET][0] == pytest.approx(plain[TARGET][0], rel=1e-5)


def test_a_model_of_before_knows_nothing_of_its_errors(student: Path, tmp_path: Path) -> None:
    old = tmp_path / "student"
    shutil.copytree(student, old)
    card = json.loads((old / "card.json").read_text())
    del card["doubt"]
    (old / "card.json").write_text(json.dumps(card))
    for name in ("training.safetensors", "training.smi"):
        (old / name).unlink()
    model = gallon.load(old)
    assert list(model.predict(["CCO"]).columns) == [TARGET, "error"]
    with pytest.raises(UsageError, match="distill it again"):
        model.predict(["CCO"], doubt=True)


@pytest.mark.parametrize("damage", ["doubt", "training.smi", "training.safetensors"])
def test_a_model_whose_doubt_is_damaged_is_refused(student: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(student, tmp_path / "student")
    card = tmp_path / "student" / "card.json"
    if damage == "doubt":
        card.write_text(card.read_text().replace('"edges": [', '"edges": [0.5, '))
    else:
        (tmp_path / "student" / damage).write_text("CCO\n")
    with pytest.raises(UsageError, match="is damaged"):
        gallon.load(tmp_path / "student")


def test_a_student_is_loaded_and_asked_without_ray_and_torch(student: Path) -> None:
    code = f"import gallon, sys; gallon.load({str(student)!r}).predict(['CCO'], doubt=True)"
    assert fresh(f"{code}; print({{'ray', 'vllm', 'torch'}} & set(sys.modules))") == "set()"


def test_a_packed_student_needs_numpy_rdkit_and_safetensors_only(student: Path, tmp_path: Path) -> None:
    packed = gallon.pack(student, tmp_path / "student.zip")
    expected = gallon.load(student).values(["CCO", "c1ccccc1", "not"])
    code = f"""
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        known = {{"gallon", "cluster", "teacher", "distill", "numpy", "rdkit", "safetensors"}}
        if name.partition(".")[0] not in known | set(sys.stdlib_module_names):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refused())
import gallon
print(gallon.load({str(packed)!r}).values(["CCO", "c1ccccc1", "not"]).tolist())
"""
    found = np.array(ast.literal_eval(fresh(code).replace("nan", "None")), dtype=np.float32)
    assert np.allclose(found, expected, rtol=1e-5, equal_nan=True)


def test_a_comparison_over_folds_has_five_times_five_of_them() -> None:
    assert (default_seeds("scaffold-cv"), default_seeds("scaffold"), default_seeds("random")) == (25, 5, 5)


def test_a_packed_model_is_whole_or_refused(student: Path, tmp_path: Path) -> None:
    packed = gallon.pack(student, tmp_path / "student.zip")
    with zipfile.ZipFile(packed) as archive:
        assert "README.md" in archive.namelist() and "outputs.parquet" not in archive.namelist()
    assert f"`{TARGET}` (regression)" in (student / "README.md").read_text()
    with pytest.raises(UsageError, match="exists already"):
        gallon.pack(student, packed)
    with pytest.raises(UsageError, match="would replace"):
        gallon.pack(packed, packed, overwrite=True)
    again = gallon.pack(packed, tmp_path / "again.zip")
    assert gallon.load(again).card == gallon.load(packed).card == card_of(packed)
    with pytest.raises(UsageError, match="no model in"):
        gallon.pack(tmp_path, tmp_path / "other.zip")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UsageError, match="no model that gallon has packed"):
        gallon.load(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "out")
        archive.writestr("card.json", "{}")
    with pytest.raises(UsageError):
        gallon.load(tmp_path / "evil.zip")
    assert not (tmp_path.parent / "evil.txt").exists()
    (tmp_path / "cut.zip").write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(UsageError, match="no model that gallon has packed"):
        gallon.load(tmp_path / "cut.zip")


def test_annotations_come_as_a_table_in_memory(store: Store, redis_url: str, spec: Spec, describe: Prompt) -> None:
    store.save_spec(spec, describe)
    assert len(gallon.annotations(store=redis_url)) == 0
    text = '{"functional_groups": ["alcohol"], "aromatic_rings": 0}'
    store.register(spec.id, "run", [Row(key_of("CCO"), 0, 1)])
    store.commit(spec.id, "run", [(key_of("CCO"), record("CCO", text))], [(1, 1)])
    (row,) = gallon.annotations(store=redis_url, spec_id=spec.id[:6]).to_dict("records")
    assert (row["smiles"], list(row["functional_groups"]), row["spec"]) == ("CCO", ["alcohol"], spec.id)
    dataset = gallon.annotations(store=redis_url, format="arrow")
    assert dataset.to_table(columns=["smiles"]).to_pylist() == [{"smiles": "CCO"}]


def test_a_few_molecules_are_described_without_store_or_ray(tmp_path: Path, spec: Spec, describe: Prompt) -> None:
    script = Script(cut_off={"CCN": 1, "CCCN": 3}, rejected=frozenset({"CCS"}))
    with Describer(script(tmp_path / "log"), spec, describe) as describer:
        done: list[int] = []
        found = describer.describe(["OCC", "not", "CCN", "CCCN", "CCS"], done.append)
    alcohol, nothing, again, never, refused = found
    assert (alcohol.molecule, alcohol.smiles, alcohol.attempts, alcohol.error) == ("OCC", "CCO", 1, None)
    assert alcohol.fields["functional_groups"] == ["alcohol"] and alcohol.grounding is not None
    assert nothing.smiles is None and nothing.text is None and nothing.error
    assert (again.attempts, again.error) == (2, None) and again.text
    assert (never.attempts, never.text) == (3, None) and "cut off" in str(never.error)
    assert refused.text is None and refused.error
    assert done == [1, 2, 3, 4, 5]


def test_what_nobody_foresaw_about_a_molecule_costs_nobody_else(tmp_path: Path, spec: Spec, describe: Prompt) -> None:
    script = Script(unforeseen={"CCO": 1, "CCN": 9})
    with Describer(script(tmp_path / "log"), spec, describe) as describer:
        again, never, other = describer.describe(["CCO", "CCN", "CCS"])
    assert (again.attempts, again.error) == (2, None)
    assert (never.text, never.attempts) == (None, 3) and never.error
    assert other.text and other.attempts == 1


def test_a_dead_engine_is_told_and_is_no_molecules_fault(tmp_path: Path, spec: Spec, describe: Prompt) -> None:
    script = Script(poison=frozenset({"CCO"}))
    with Describer(script(tmp_path / "log"), spec, describe) as describer, pytest.raises(EngineDeadError):
        describer.describe(["CCO"])


def test_a_server_is_asked_where_vllm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # to import it is an error
    monkeypatch.setenv("GALLON_ENDPOINT_KEY", f"{KEY} \n")  # as it comes out of a file
    with serving(Behaviour()) as url:
        (found,) = gallon.describe("CCO", endpoint=url, model=MODEL)
    assert found.error is None and found.text == true_answer("CCO")


def test_nothing_to_describe_starts_no_engine() -> None:
    assert gallon.describe([], model="nowhere/at-all") == []
