"""Which LoRA adapter a folder holds: known by its files, and refused before anything starts."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.errors import UsageError
from teacher.llm.adapter import PLAIN_STARTS, RANKS, identify_adapter
from tests.support.checkpoints import tiny_adapter

if TYPE_CHECKING:
    from vllm.config.lora import LoRAConfig
    from vllm.lora.peft_helper import PEFTHelper


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return tiny_adapter(tmp_path / "adapter")


def test_an_adapter_is_part_of_the_spec_wherever_it_lies(adapter: Path, tmp_path: Path) -> None:
    plain, adapted = resolve_spec(SpecConfig()), resolve_spec(SpecConfig(adapter=str(adapter)))
    moved = shutil.copytree(adapter, tmp_path / "moved")
    (moved / "README.md").write_text("Our own.")
    assert plain.spec.id != adapted.spec.id == resolve_spec(SpecConfig(adapter=str(moved))).spec.id
    assert adapted.spec.adapter is not None and str(tmp_path) not in adapted.spec.model_dump_json()
    assert adapted.adapter is not None and adapted.adapter.path == str(adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_another_adapter_makes_other_records(adapter: Path, name: str) -> None:
    before, _ = identify_adapter(str(adapter))
    changed = adapter / name
    if name.endswith(".json"):
        changed.write_text(json.dumps({**json.loads(changed.read_text()), "lora_alpha": 1}))
    else:
        changed.write_bytes(changed.read_bytes()[:-4] + b"\0\1\2\3")
    assert identify_adapter(str(adapter))[0].digest != before.digest


@pytest.mark.parametrize(("changes", "room"), [({"r": 1}, 1), ({"r": 4}, 8), ({"rank_pattern": {"q_proj": 9}}, 16)])
def test_vllm_makes_room_for_the_rank(tmp_path: Path, changes: dict[str, object], room: int) -> None:
    assert identify_adapter(str(tiny_adapter(tmp_path / "adapter", **{"r": 4, **changes})))[1].rank == room


def test_the_ranks_are_those_of_vllm() -> None:
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == RANKS


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"r": 513}, "has the rank 513: vLLM serves ranks up to 512"),
        ({"r": None}, "has no rank"),
        ({"peft_type": "IA3"}, r"is no LoRA \(IA3\)"),
        ({"use_dora": True}, "has DoRA, which vLLM does not serve"),
        ({"modules_to_save": ["score", "lm_head"]}, r"has trained modules beside the LoRA \(modules_to_save\)"),
        ({"bias": "lora_only"}, r"has trained biases \(bias\)"),
        ({"use_bdlora": {"nblocks": 2}}, "has block-diagonal LoRA"),
        *(
            ({"init_lora_weights": start}, "has a start that changes the model's own weights")
            for start in ("pissa", "pissa_niter_4", "olora", "corda", "loftq")
        ),
    ],
)
def test_an_adapter_that_vllm_does_not_serve_is_refused(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        resolve_spec(SpecConfig(adapter=str(tiny_adapter(tmp_path / "adapter", **changes))))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": "none", "modules_to_save": None, "use_bdlora": None, "init_lora_weights": True},
        {"modules_to_save": ["classifier", "score"], "init_lora_weights": "Gaussian"},
        {"init_lora_weights": False},
        *({"init_lora_weights": start} for start in PLAIN_STARTS),
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"use_bdlora": {"nblocks": 2}},
        {"use_dora": True},
        {"use_qalora": True},
        {"lora_bias": True},
        {"alora_invocation_tokens": [1]},
        {"layer_replication": [[0, 1]]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "something new"},
    ],
)
def test_an_adapter_is_refused_where_vllm_refuses_it(tmp_path: Path, changes: dict[str, object]) -> None:
    from vllm.config.lora import LoRAConfig
    from vllm.lora.peft_helper import PEFTHelper

    folder = str(tiny_adapter(tmp_path / "adapter", **changes))
    helper = PEFTHelper.from_local_dir(folder, max_position_embeddings=None)
    with nullcontext() if _is_legal(helper, LoRAConfig(max_lora_rank=8)) else pytest.raises(UsageError):
        identify_adapter(folder)


def _is_legal(helper: PEFTHelper, config: LoRAConfig) -> bool:
    try:
        helper.validate_legal(config)
    except ValueError:
        return False
    return True


def test_a_folder_without_an_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no LoRA adapter: there is no adapter_config.json in it"):
        identify_adapter(str(tmp_path / "nowhere"))
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        identify_adapter(str(adapter))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(UsageError, match="holds no weights of an adapter"):
        identify_adapter(str(adapter))


def test_a_server_has_its_own_adapters(adapter: Path) -> None:
    with pytest.raises(UsageError, match=r"has its own adapters: leave out --adapter"):
        resolve_spec(SpecConfig(model="m", adapter=str(adapter), endpoint="http://localhost/v1"))
