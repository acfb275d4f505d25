"""The `gallon` command as a user runs it."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from cluster.runtime import session
from cluster.runtime.session import RaySession
from cluster.store.open import open_store
from cluster.store.store import Row
from gallon.cli.app import app
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.command import CommandHere, call, every_command, last_json
from tests.support.molecules import SMILES
from tests.support.records import KEYS, letter

NOBODY = "127.0.0.1:1"
TEACH = [
    "teach",
    "{library}",
    "--target",
    "number",
    "--split",
    "random",
    "--store",
    f"redis://{NOBODY}",
    "--ray",
    NOBODY,
]


LINES = [(number + 1, f"m{number},{smiles},{number}") for number, smiles in enumerate([*SMILES, "OCC", "bad"])]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.csv"
    path.write_text("\n".join(["name,smiles,number", *(line for _, line in LINES)]) + "\n")
    return path


def test_a_library_is_annotated_by_the_real_engine_verified_exported_and_not_annotated_twice(
    ray_address: str, library: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    annotate = ["annotate", library, "--ray", ray_address, "--json"]
    ledger = last_json(call(*annotate, store=store))
    assert (ledger["rows"], ledger["molecules"], ledger["duplicates"], ledger["invalid"]) == (8, 6, 1, 1)
    assert (ledger["accepted"] + ledger["dead"], ledger["pending"], ledger["dead"]) == (6, 0, 0)
    assert ledger["new"] == 6
    assert ledger["completion_tokens"] > 0
    verdict = last_json(call("verify", library, "--json", store=store))
    assert (verdict["ok"], verdict["spec"], verdict["missing"]) == (True, ledger["spec"], 0)
    exported = last_json(call("export", tmp_path / "out.jsonl", "--json", store=store))
    assert exported["rows"] == 6
    (row, *_) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert set(row) > {"functional_groups", "description", "grounding", "revision", "software"}
    again = last_json(call(*annotate, store=store))
    assert (again["new"], again["accepted"], again["prompt_tokens"]) == (0, 6, 0)
    status = last_json(call("status", "--json", store=store))
    assert [(spec["spec"], spec["accepted"], spec["molecules"]) for spec in status["specs"]] == [(ledger["spec"], 6, 6)]
    assert [run["state"] for run in status["runs"]] == ["finished", "finished"]
    dead = last_json(call("dead", "--json", store=store))
    assert [(letter["row"], letter["stage"]) for letter in dead["dead"]] == [(8, "parse")]


def test_the_demo_goes_the_whole_way(own_environment: None, tmp_path: Path) -> None:
    done = last_json(call("demo", "--limit", "50", "--out", tmp_path / "demo", "--json", store=tmp_path / "store"))
    assert (done["rows"], done["accepted"] + done["dead"], done["pending"]) == (50, 50, 0)
    assert [model["name"] for model in done["models"]] == ["dmpnn", "lm", "student-fingerprint"]
    assert all(model["metrics"]["test"]["rmse"] > 0 for model in done["models"])
    assert (done["screened"]["rows"], done["screened"]["invalid"]) == (50, 0)
    assert len((tmp_path / "demo" / "scores.csv").read_text().splitlines()) == 51
    page = Path(done["report"]).read_text()
    assert "Learnt: demo" in page and "student" in page


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["teach", "{library}"], 2, "Name the columns"),
        (["teach", "{library}", "--target", "logS"], 2, "logS"),
        (["teach", "{library}", "--target", "name"], 2, "name"),
        (
            ["evaluate", "esol", "--data-root", "{library}", "--methods", "svm"],
            2,
            "There is no method 'svm'",
        ),
        (["distill", "{library}", "--target", "number", "--descriptors", "some"], 2, "choose one of all, lean"),
        (
            ["distill", "{library}", "--target", "number", "--library", "{folder}/none"],
            2,
            "There is no prepared library",
        ),
        (["prepare", "{library}", "--out", "{folder}"], 2, "holds files and no prepared library"),
        (["embed", "{folder}/none"], 2, "There is no prepared library"),
        (["pretrain", "{folder}/none", "--out", "{folder}/o"], 2, "There is no prepared library"),
        (["pretrain", "{folder}", "--teacher", "lm", "--out", "{folder}/o"], 2, "choose one of gcn, gin, gat, dmpnn"),
        (["teach", "{library}", "--target", "number", "--start", "{folder}/none"], 2, "There is no pre-trained"),
        (["prepare", "{library}", "--out", "{folder}/o", "--descriptors", "some"], 2, "choose one of all, lean"),
        (["screen", "{library}", "--student", "nowhere", "--out", "out.csv"], 2, "There is no model in nowhere"),
        (["choose", "{library}", "--number", "7", "--out", "{folder}/out.csv"], 2, "holds 6 molecules, not 7"),
        (["choose", "{library}", "--number", "2", "--out", "{folder}/out.smi"], 2, "should end in one of"),
        (
            ["choose", "{library}", "--number", "2", "--out", "{folder}/o.csv", "--student", "{folder}"],
            2,
            "no model in",
        ),
        (["choose", "{library}", "--number", "2", "--out", "{library}", "--overwrite"], 2, "which this command reads"),
        (["screen", "{library}", "--student", "nowhere", "--out", "{library}"], 2, "which this command reads"),
        (
            ["screen", "{library}", "--student", "nowhere", "--out", "/proc/out.csv"],
            2,
            "/proc/out.csv cannot be written",
        ),
        (["export", "{library}"], 2, "--overwrite"),
        (["annotate", "{library}", "--out", "{library}", "--overwrite"], 2, "which this command reads"),
        (["annotate", "{library}", "--out", "{folder}/out.sdf"], 2, "has no mol blocks"),
        (["annotate", "{library}", "--id-column", "name"], 2, "belong to --out"),
        (["annotate", "{library}", "--out", "{folder}/out.csv", "--keep", "none"], 2, "--keep-columns"),
        (["annotate", "{library}", "--out", "{folder}/out.csv", "--keep-columns", "nam"], 2, "no column 'nam'"),
        (["choose", "{library}", "--number", "2", "--out", "{folder}/o.csv", "--keep", "name,id"], 2, "no column 'id'"),
        (["screen", "{library}", "--student", "nowhere", "--out", "{folder}/out.smi"], 2, "should end in one of"),
        (["export", "{folder}/out.csv", "--library", "{library}", "--molecules", "{library}"], 2, "one of them"),
        (["export", "{folder}/out.csv", "--keep", "name"], 2, "belong to --library"),
        (["export", "{folder}/out.csv", "--limit", "3"], 2, "no library to be read"),
        (["export", "{folder}/out.sdf"], 2, "should end in one of"),
        (["dead", "--out", "{folder}"], 2, "should end in one of .jsonl"),
        (["report", "--out", "{folder}/nowhere/page.html"], 2, "There is no folder"),
        (["teach", "{library}", "--target", "number", "--out", "{library}"], 2, "is a file"),
        (["demo", "--out", "{library}"], 2, "is a file"),
        (["rules", "import", "{library}", "--out", "{folder}/rules.json"], 2, "is no JSON object"),
        (["rules", "import", "nowhere.jsonl", "--out", "{folder}/rules.json"], 2, "cannot be read"),
        (
            ["rules", "ask", "--task", "logP", "--model", "tiny", "--out", "{folder}/rules.json"],
            2,
            "knows no chemistry",
        ),
        (["teach", "{library}", "--target", "number", "--teacher", "rules"], 2, "name it by --rules"),
        (["teach", "{library}", "--target", "number", "--rules", "{library}"], 2, "holds no rules"),
        (["evaluate", "{library}", "--target", "number", "--methods", "rules-all"], 2, "name it by --rules"),
        (["annotate", "nowhere.smi"], 2, "No file matches nowhere.smi"),
        (["annotate", "{library}", "--smiles-column", "structure"], 2, "no text column 'structure'"),
        (["annotate", "{folder}/library.docx"], 2, "library.docx"),
        (["annotate", "{library}", "--prompt", "describ"], 2, "There is no prompt 'describ'"),
        (["annotate", "{library}", "--prompt", "gallon"], 2, "give --task"),
        (["annotate", "{library}", "--task", "solubility"], 2, "leave out --task"),
        (["annotate", "{library}", "--model", "nobody/nothing"], 2, "'nobody/nothing' is not on this machine"),
        (["annotate", "{library}", "--model", "{folder}"], 2, "holds no model"),
        (["annotate", "{library}", "--dtype", "int8"], 2, "Invalid options"),
        (["annotate", "{library}", "--no-smiles", "--no-image", "--no-graph"], 2, "must be given"),
        (["annotate", "{library}", "--store", "redis://127.0.0.1:1"], 1, "cannot be reached"),
        (["annotate", "{library}", "--ray", "127.0.0.1:1"], 1, "No Ray cluster answers"),
        (["verify", "{library}", "--spec", "ffff"], 2, "There are no annotations at {folder}/store"),
        (["status"], 2, "There are no annotations"),
        (["status", "--store", "{library}"], 2, "There are no annotations"),
        (["status", "--store", "localhost:6390"], 2, "redis://localhost:6390"),
        (["report"], 2, "There are no annotations"),
        (["dead"], 2, "There are no annotations"),
        (["export", "{folder}/out.parquet"], 2, "There are no annotations"),
        (
            ["teach", "{library}", "--target", "number", "--split", "random", "--teacher", "lm"],
            2,
            "There are no annotations",
        ),
        (["annotate", "{library}", "--store", "{library}"], 1, "The store needs a folder"),
        (["import", "{folder}/nowhere.jsonl"], 2, "cannot be read"),
        (["annotate", "{library}", "--config", "{folder}/nowhere.yaml"], 2, "cannot be read"),
        # Only who reads texts asks the store for them.
        ([*TEACH, "--teacher", "lm"], 1, "cannot be reached"),
        ([*TEACH, "--teacher", "gcn"], 1, "No Ray cluster answers"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_writes_nothing(
    command_here: CommandHere,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    sentence: str,
) -> None:
    monkeypatch.setattr(session, "_open", [])  # the tests' own session, in which another cluster is refused
    (tmp_path / "library.docx").write_bytes(b"")
    store = tmp_path / "store"
    filled = [argument.format(library=library, folder=tmp_path) for argument in arguments]
    done = command_here(*filled, store=store)
    assert (done.status, done.out) == (status, ""), done.err
    assert sentence.format(folder=tmp_path) in done.err
    assert "Traceback" not in done.err
    assert library.read_text().startswith("name,smiles,number")
    assert not store.exists() or (arguments[0] in {"annotate", "import"} and holds_nothing(store))


def holds_nothing(store: Path) -> bool:
    with open_store(str(store)) as opened:
        return (opened.specs(), opened.runs()) == ({}, {})


def test_an_engine_that_does_not_fit_into_memory_is_refused_in_one_sentence(
    command_here: CommandHere, ray_here: RaySession, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gallon.api.annotation.ray_session", lambda _: nullcontext(ray_here))
    done = command_here("annotate", library, "--kv-cache-gib", "100000", store=tmp_path / "store")
    assert (done.status, done.out) == (1, ""), done.err
    assert "GiB of memory" in done.err and "Traceback" not in done.err
    assert holds_nothing(tmp_path / "store")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:Sekret/77abc@127.0.0.1:6390/0",
        "redis://user:Sekret[77abc@127.0.0.1:6390/0",
        "redis://:Sekret%2F77abc@127.0.0.1:1/0",
        "redis://:Sekret77abc@127.0.0.1:1?decode_responses=True",
        "redis+cluster://:Sekret 77abc@127.0.0.1:1",
        ":Sekret77abc@127.0.0.1:6390",
    ],
)
def test_no_part_of_a_password_is_shown(command_here: CommandHere, url: str) -> None:
    done = command_here("status", store=url)
    assert (done.status in {1, 2}, done.out) == (True, "")
    assert done.err.startswith("gallon: ") and done.err.count("\n") == 1
    assert "Sekret" not in done.err and "77abc" not in done.err


def test_a_mistake_ends_so_in_a_process_of_its_own(own_environment: None, tmp_path: Path) -> None:
    done = call("status", store=tmp_path / "store")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "There are no annotations" in done.stderr


def test_options_come_from_a_file_and_flags_win(command_here: CommandHere, library: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("prompt: nothing-like-it\nsmiles-column: smiles\n")
    annotate = ["annotate", library, "--config", config]
    assert "nothing-like-it" in command_here(*annotate, store=tmp_path / "s").err
    done = command_here(*annotate, "--prompt", "other", store=tmp_path / "s")
    assert "There is no prompt 'other'" in done.err
    config.write_text("promt: describe\n")
    done = command_here(*annotate, store=tmp_path / "s")
    assert (done.status, "promt" in done.err) == (2, True)


def test_dead_letters_are_written_before_they_are_put_back(
    command_here: CommandHere, spec: Spec, describe: Prompt, tmp_path: Path
) -> None:
    store, first, second = tmp_path / "store", tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    with open_store(str(store)) as opened:
        opened.save_spec(spec, describe)
        opened.register(spec.id, "run", [Row(KEYS[0], 0, 1)])
        opened.commit(spec.id, "run", [(KEYS[0], letter())], [(1, 1)])
    written = json.loads(command_here("dead", "--out", first, "--json", store=store).out)
    assert written == {"spec": spec.id, "path": str(first), "letters": 1}
    done = command_here("dead", "--retry", "--out", second, store=store)
    assert done.out.startswith(f"1 dead letter written to {second}\n1 molecule back among the pending")
    assert first.read_text() == second.read_text() != ""
    retried = json.loads(command_here("dead", "--retry", "--json", store=store).out)
    assert retried == {"spec": spec.id, "retried": 0}
    assert json.loads(command_here("dead", "--json", store=store).out) == {"spec": spec.id, "dead": []}


def test_a_recount_under_a_spec_that_nothing_was_annotated_under_names_those_there_are(
    command_here: CommandHere, tmp_path: Path
) -> None:
    made, library, store = tmp_path / "made.jsonl", tmp_path / "library.smi", tmp_path / "store"
    made.write_text(json.dumps({"smiles": "CCO", "text": "An alcohol.", "model": "gpt"}) + "\n")
    library.write_text("CCO\n")
    (spec,) = json.loads(command_here("import", made, "--json", store=store).out)["specs"]
    done = command_here("verify", library, store=store)
    assert done.status == 2 and done.err.startswith("gallon: Nothing was annotated under spec ")
    assert f"choose one with --spec out of {spec['spec']} (gpt, imported)." in done.err
    assert command_here("verify", library, "--spec", spec["spec"], store=store).status == 0


def wait_for_records(folder: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        time.sleep(0.2)
        if not (folder / "redis.sock").exists():
            continue
        with open_store(str(folder)) as store:
            if any(store.progress(run)["accepted"] for run in store.runs()):
                return
    raise AssertionError("the run ended before it was interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_cleanly_and_the_same_command_resumes(
    ray_address: str, tmp_path: Path, number: signal.Signals
) -> None:
    library = tmp_path / "library.smi"
    library.write_text("".join("C" * length + "O\n" for length in range(1, 201)))
    drive = [sys.executable, "-m", "tests.support.drive", str(library), str(tmp_path / "store")]
    on_shared_ray = ["--ray", ray_address]
    first = [*drive, *([] if number == signal.SIGINT else on_shared_ray)]  # one of them on a Ray of its own
    with subprocess.Popen([*first, "--delay", "0.05"], stdout=subprocess.PIPE, text=True) as process:
        wait_for_records(tmp_path / "store", process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    stopped = json.loads(output.splitlines()[-1])
    assert stopped["interrupted"]
    assert stopped["accepted"] + stopped["pending"] == stopped["molecules"]
    assert 0 < stopped["accepted"] < 200
    done = subprocess.run([*drive, *on_shared_ray], capture_output=True, text=True, check=True)
    finished = json.loads(done.stdout.splitlines()[-1])
    assert (finished["accepted"], finished["pending"], finished["interrupted"]) == (200, 0, False)
    assert finished["new"] == 200 - stopped["accepted"]  # nothing was stored after the ledger was taken


def test_what_is_chosen_is_a_library(command_here: CommandHere, library: Path, tmp_path: Path) -> None:
    out = tmp_path / "chosen.csv"
    done = command_here("choose", library, "--number", "3", "--only-chosen", "--out", out, "--json", store=tmp_path)
    assert done.status == 0, done.err
    chosen = json.loads(done.out.splitlines()[-1])
    assert (chosen["molecules"], chosen["chosen"]) == (6, 3)
    assert 0 < chosen["coverage_at_random"] <= chosen["coverage"] < 1
    header, *rows = (tmp_path / "chosen.csv").read_text().splitlines()
    assert header == "name,smiles,number,source,row,chosen,error"
    assert set(rows) < {f"{line},{library},{row},{rank}," for row, line in LINES for rank in (1, 2, 3)}
    assert [row.split(",")[-2] for row in rows] == ["1", "2", "3"]
    assert command_here("annotate", out, "--dry-run", store=tmp_path / "store").status == 0


def test_columns_are_kept_by_name_and_the_one_that_identifies_a_row_comes_first(
    command_here: CommandHere, library: Path, tmp_path: Path
) -> None:
    choose = ["choose", library, "--number", "2", "--overwrite", "--out", tmp_path / "out.csv"]
    ours = "source,row,smiles,chosen,error"
    for options, header in (
        ([], "name,smiles,number,source,row,chosen,error"),
        (["--keep", "all", "--id-column", "number"], "number,name,smiles,source,row,chosen,error"),
        (["--keep", "none"], ours),
        (["--keep", "none", "--id-column", " name "], f"name,{ours}"),
        (["--keep", "number,name"], f"number,name,{ours}"),
        (["--keep-columns", "number", "--keep-columns", "name"], f"number,name,{ours}"),
    ):
        assert command_here(*choose, *options, store=tmp_path).status == 0
        assert (tmp_path / "out.csv").read_text().splitlines()[0] == header, options


def test_help_of_every_command_has_an_example() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert "Example: `gallon" in inspect.getdoc(command.callback), command.callback.__name__


def test_the_flags_of_every_command_are_the_ones_that_people_rely_on() -> None:
    spec = [
        "--model",
        "--revision",
        "--dtype",
        "--quantization",
        "--adapter",
        "--thinking",
        "--reasoning-parser",
        "--prompt",
        "--task",
        "--smiles",
        "--no-smiles",
        "--image",
        "--no-image",
        "--image-size",
        "--graph",
        "--no-graph",
        "--facts",
        "--no-facts",
        "--allow-column",
        "--temperature",
        "--top-p",
        "--max-tokens",
        "--seed",
        "--samples",
        "--keep",
        "--structured",
        "--no-structured",
        "--min-grounding",
        "--engine-arg",
        "--endpoint",
    ]
    serving = [
        "--workers",
        "--max-attempts",
        "--request-minutes",
        "--concurrency",
        "--max-num-seqs",
        "--renderers",
        "--max-model-len",
        "--gpu-memory",
        "--gpu-memory-utilization",
        "--kv-cache-gib",
        "--tensor-parallel",
        "--tensor-parallel-size",
        "--pipeline-parallel",
        "--pipeline-parallel-size",
        "--load-format",
        "--trust-remote-code",
        "--no-trust-remote-code",
        "--ray",
        "--wait-for-gpus",
        "--no-wait-for-gpus",
    ]
    engine = [*serving, "--max-dead", "--max-error-rate", "--stall-minutes"]
    service = ["--host", "--port", "--replicas", "--queue", "--student", "--describe", "--no-describe"]
    service += ["--token-file", "--drain-seconds"]
    cost = ["--probe", "--price-per-hour"]
    batch = ["--max-requests", "--max-bytes", "--max-attempts", "--everything", "--token-field"]
    asking = ["--model", "--revision", "--endpoint", "--samples", "--temperature", "--max-tokens", "--seed"]
    asking += ["--tensor-parallel", "--tensor-parallel-size", "--max-model-len"]
    output = ["--json", "--verbose", "-v", "--help"]
    common = ["--store", *output]
    file = ["--smiles-column", "--separator", "--encoding"]
    rows = ["--out", "--overwrite", "--keep-columns", "--id-column"]
    data = [
        "--target",
        *file,
        "--split",
        "--split-column",
        "--time-column",
        "--scaffold-chirality",
        "--data-root",
        "--seed",
    ]
    learning = [
        "--out",
        "--overwrite",
        "--workers",
        "--encoder",
        "--pooling",
        "--predictions",
        "--ranking",
        "--llm-budget",
        "--budget-by",
        "--service",
        "--llm-rounds",
        "--also-spec",
        "--texts-each",
        "--balance",
        "--rules",
        "--ray",
        "--config",
    ]
    weights = [
        "--descriptors",
        "--objective",
        "--soft-gnn",
        "--soft-lm",
        "--hidden-gnn",
        "--hidden-lm",
        "--soft-temperature",
    ]
    transfer = ["--transfer", "--transfer-rows"]
    streamed = ["--library", "--library-molecules", "--library-epochs", "--library-batch", "--labelled-share"]
    expected = {
        "annotate": [*file, "--limit", "--dry-run", *cost, *rows, "--config", *spec, *engine, *common],
        "demo": ["--limit", "--out", "--config", *spec, *engine, *common],
        "verify": [*file, "--limit", "--config", "--spec", "--deep", *spec, *common],
        "status": ["--follow", *common],
        "report": ["--out", "--overwrite", "--gallery", "--learned", *common],
        "dead": ["--spec", "--retry", "--out", "--overwrite", *common],
        "export": ["--library", "--molecules", *file, "--limit", *rows[1:], "--keep", "--spec", *common],
        "import": common,
        "batch write": [*file, "--limit", "--out", "--overwrite", *batch, "--config", *spec, *common],
        "batch read": ["--requests", *common],
        "prompt show": ["--molecule", "--column", *spec, *engine, *output],
        "prompt list": output,
        "prompt few-shot": ["--out", "--shots", "--task", "--overwrite", *data, *output],
        "prompt rank": ["--out", "--candidates", "--task", "--overwrite", *data, *output],
        "rules ask": ["--task", "--out", "--overwrite", *asking, *output],
        "rules import": ["--out", "--task", "--about", "--overwrite", *output],
        "pack": ["--out", "--overwrite", *output],
        "serve": [*service, "--config", *spec, *serving, *common],
        "choose": [
            "--number",
            "--by",
            "--student",
            *rows,
            "--keep",
            "--only-chosen",
            *file,
            "--limit",
            "--seed",
            "--config",
            "--json",
            "--verbose",
            "-v",
            "--help",
        ],
        "prepare": [
            "--out",
            "--overwrite",
            "--descriptors",
            *file,
            "--limit",
            "--ray",
            "--config",
            "--json",
            "--verbose",
            "-v",
            "--help",
        ],
        "nodes": [
            "--edges",
            "--id-column",
            "--text-column",
            "--label-column",
            "--split-column",
            "--budget",
            "--by",
            "--network",
            "--layers",
            "--width",
            "--dropout",
            "--epochs",
            "--encoder",
            "--seeds",
            "--seed",
            "--out",
            "--overwrite",
            "--json",
            "--verbose",
            "-v",
            "--help",
        ],
        "embed": [
            "--encoder",
            "--spec",
            "--store",
            "--ray",
            "--config",
            "--json",
            "--verbose",
            "-v",
            "--help",
        ],
        "pretrain": [
            "--teacher",
            "--out",
            "--descriptor-weight",
            "--field-weight",
            "--embedding-weight",
            "--alignment-weight",
            "--library-molecules",
            "--without",
            "--smiles-column",
            "--epochs",
            "--batch-size",
            "--seed",
            "--workers",
            "--ray",
            "--spec",
            "--config",
            "--json",
            "--verbose",
            "-v",
            "--help",
        ],
        "teach": [
            "--teacher",
            "--preset",
            "--folds",
            "--seeds",
            "--start",
            "--tuning",
            "--spec",
            *data,
            *learning,
            *common,
        ],
        "learn": ["--model", "--texts", "--no-texts", "--spec", *data, *learning, *common],
        "distill": [
            "--teacher-folder",
            "--student",
            "--student-input",
            "--preset",
            "--seeds",
            "--tuning",
            "--spec",
            *weights,
            *transfer,
            *streamed,
            *data,
            *learning,
            *common,
        ],
        "evaluate": [
            "--methods",
            "--objective",
            "--lm",
            "--folds",
            "--labels",
            "--recompute",
            "--start",
            "--seeds",
            "--trials",
            "--spec",
            "--other-spec",
            *transfer,
            *data,
            *learning,
            *common,
        ],
        "screen": [
            "--student",
            *rows,
            "--keep",
            "--doubt",
            "--no-doubt",
            *file,
            "--where",
            "--top",
            "--prefilter",
            "--by",
            "--lowest",
            "--limit",
            "--ray",
            "--config",
            "--json",
            "--verbose",
            "-v",
            "--help",
        ],
    }
    commands = every_command()
    assert commands.keys() == expected.keys()
    for name, command in commands.items():
        flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        assert {flag for flag in flags if flag.startswith("-")} == set(expected[name]) - {"--help"}, name
