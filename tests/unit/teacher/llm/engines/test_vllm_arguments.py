"""How vLLM is started: whatever the card, the model or the template, and with the arguments that users add."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.errors import EngineRefusedError, UsageError
from teacher.llm.engines.installed_vllm import known_arguments
from teacher.llm.engines.vllm_arguments import (
    HARMLESS,
    OWN,
    EngineSettings,
    caches_pictures,
    deciding,
    parse_engine_arguments,
    vllm_config,
)
from teacher.llm.models import identify, local_path
from teacher.llm.spec import Model


def config_of(settings: EngineSettings, path: str = local_path("tiny"), model: Model | None = None) -> Any:
    return vllm_config(model or identify("tiny"), path, settings, on_cpu=True, one_process=True)


def test_a_batch_job_takes_the_batches_of_one() -> None:
    config = config_of(EngineSettings())
    assert config.scheduler_config.max_num_batched_tokens == 4_096  # of a CPU; 2,048 on every card without a context


def test_requests_carry_one_picture_of_the_specs_size_and_no_video() -> None:
    seeing = config_of(EngineSettings(image_size=224)).model_config.multimodal_config
    picture = seeing.limit_per_prompt["image"]
    assert (picture.count, picture.width, picture.height) == (1, 224, 224)
    assert seeing.interleave_mm_strings
    assert {seeing.get_limit_per_prompt(kind) for kind in ("video", "audio")} == {0}
    blind = config_of(EngineSettings(image_size=None)).model_config.multimodal_config
    assert {blind.get_limit_per_prompt(kind) for kind in ("image", "video", "audio")} == {0}


def test_pictures_are_remembered_only_where_the_user_wants_it() -> None:
    assert not caches_pictures(config_of(EngineSettings(image_size=224)))
    assert caches_pictures(config_of(EngineSettings(image_size=224, arguments={"mm_processor_cache_gb": 1})))


def test_a_context_of_ten_million_tokens_is_fitted_to_memory() -> None:
    assert config_of(EngineSettings()).model_config.original_max_model_len == -1
    assert config_of(EngineSettings(max_model_len=512)).model_config.max_model_len == 512


def test_a_model_that_cannot_see_is_refused_by_its_configuration_alone(tmp_path: Path) -> None:
    for file in Path(local_path("tiny")).glob("token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    facts = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "vocab_size": 1_000}
    facts |= {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64, "max_position_embeddings": 512}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    model = Model(name="blind", revision="1", dtype="float32")
    with pytest.raises(EngineRefusedError, match="blind reads text only: give --no-image"):
        config_of(EngineSettings(), str(tmp_path), model)


def test_engine_arguments_reach_vllm() -> None:
    given = parse_engine_arguments(["max_num_batched_tokens=8192", '--hf-overrides={"rope_theta": 7}'])
    assert given == {"max_num_batched_tokens": 8192, "hf_overrides": {"rope_theta": 7}}
    assert config_of(EngineSettings(arguments=given)).scheduler_config.max_num_batched_tokens == 8_192


def test_an_engine_argument_of_several_settings_becomes_what_vllm_makes_of_it() -> None:
    given = parse_engine_arguments(['compilation_config={"mode": 0}', "mm_processor_cache_gb=1"])
    config = config_of(EngineSettings(arguments=given))
    assert type(config.compilation_config).__name__ == "CompilationConfig"
    assert config.model_config.multimodal_config.mm_processor_cache_gb == 1


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("max_num_batched_tokens", "has no value: give NAME=JSON"),
        ("tensor-parallel-size=2", "is set by --tensor-parallel: use that"),
        ("no_such=1", "vLLM has no engine argument no_such"),
    ],
)
def test_an_engine_argument_that_cannot_be_is_refused_in_one_sentence(argument: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_engine_arguments([argument])


@pytest.mark.parametrize("name", ["hf_token", "--hf-token"])
def test_a_secret_among_engine_arguments_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(UsageError, match="is a secret: put it into HF_TOKEN in the environment") as refused:
        resolve_spec(SpecConfig(engine_arg=[f"{name}=hf_hunter2"]))
    assert "hunter2" not in str(refused.value)


def test_where_vllm_logs_and_listens_makes_no_other_spec() -> None:
    names = ("log_config_file", "logging_config", "master_addr", "otlp_traces_endpoint")
    given = parse_engine_arguments([f"{name}=anything" for name in names])
    assert len(given) == len(names) and not deciding(given)


def test_only_arguments_that_may_change_the_text_make_another_spec() -> None:
    plain, faster, other = (
        resolve_spec(SpecConfig(engine_arg=given)).spec
        for given in (None, ["max_num_batched_tokens=8192"], ["kv_cache_dtype=fp8"])
    )
    assert plain.id == faster.id != other.id
    assert deciding({"kv_cache_dtype": "fp8", "block_size": 16}) == {"kv_cache_dtype": "fp8"}


def test_vllm_knows_the_arguments_that_are_spoken_of() -> None:
    assert not (HARMLESS | OWN.keys()) - known_arguments()
