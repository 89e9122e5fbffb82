"""Advice on what fits, from the table of well-known models and from a config.json."""

import json
from pathlib import Path

import pytest

from journal.errors import SpecError, UsageError
from journal.host.fit import choice_verdict, fit
from journal.theory.model_table import find_model

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.2"
GIB = 2**30


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing answers there


def test_one_gpu_is_answered_in_a_sentence() -> None:
    advice = fit(MISTRAL, gpu="4090", context=16384, batch=8)
    assert advice.answer == (
        "Mistral-7B-Instruct-v0.2 on RTX 4090 (24 GiB): Take the AWQ build (4 bits): 8 x 16,384 "
        "tokens fit. The 16-bit checkpoint needs 34 GiB for them. That is "
        "TheBloke/Mistral-7B-Instruct-v0.2-AWQ."
    )
    assert advice.kv_bytes_per_token == 131_072
    assert [choice_verdict(choice) for choice in advice.places[0].fit.choices] == [
        "shorter or fewer",
        "shorter or fewer",
        "yes, 8 at once",
        "yes, 8 at once",
    ]
    assert "8 GPUs" not in advice.answer
    two = fit(MISTRAL, vram_bytes=24 * GIB, context=16384, batch=8, tensor_parallel=2)
    assert "on 2 GPUs of 24 GiB: Take the 16-bit checkpoint" in two.answer
    assert two.kv_bytes_per_token == 65_536
    with pytest.raises(SpecError, match="tensor_parallel 3 cannot share out the 32 attention"):
        fit(MISTRAL, gpu="4090", tensor_parallel=3)


def test_every_gpu_where_none_is_named_and_none_is_here() -> None:
    advice = fit(MISTRAL)
    if advice.places[0].here:
        pytest.skip("this host has a GPU of its own")
    assert (advice.context, advice.batch) == (8192, 1)
    assert [place.name for place in advice.places][:2] == ["T4", "L4"]
    assert advice.answer == (
        "Mistral-7B-Instruct-v0.2, for 1 x 8,192 tokens: 16-bit checkpoint from the L4 (22.5 GiB) "
        "on; FP8 build from the L4 (22.5 GiB) on; AWQ build (4 bits) and GPTQ build (4 bits) from "
        "the T4 (15 GiB) on."
    ).replace("16-bit checkpoint from the L4 (22.5 GiB) on; FP8", "16-bit checkpoint and FP8")
    assert "no kernels" in choice_verdict(advice.places[0].fit.choices[1])  # FP8 on a T4
    giant = fit("Llama-3.1-70B-Instruct", context=131072, batch=64)
    assert "fit on no GPU known here" in giant.answer


def test_a_build_is_counted_as_it_is_packed() -> None:
    advice = fit("TheBloke/Mistral-7B-Instruct-v0.2-AWQ", gpu="T4")
    assert [choice.precision for choice in advice.places[0].fit.choices] == ["awq"]
    base = fit("Mistral-7B-v0.1", gpu="H200")
    assert base.builds["fp16"] == "mistralai/Mistral-7B-v0.1"


@pytest.mark.parametrize(
    ("packing", "precisions"),
    [
        ({}, ["fp16", "fp8", "awq", "gptq"]),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ["awq"]),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "int"}}},
            },
            ["compressed-tensors"],
        ),
    ],
)
def test_any_config_json_will_do(
    tmp_path: Path, packing: dict[str, object], precisions: list[str]
) -> None:
    config = {**find_model(MISTRAL).config, "quantization_config": packing}
    (tmp_path / "config.json").write_text(json.dumps(config))
    advice = fit(str(tmp_path), gpu="L40S")
    assert advice.known_from == "its config.json"
    assert [choice.precision for choice in advice.places[0].fit.choices] == precisions
    assert advice.answer.startswith(f"{tmp_path.name} on L40S (45 GiB): Take the ")
    assert not advice.builds


def test_a_model_in_the_cache_is_read_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--owner--new-8B" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(find_model("Llama-3.1-8B-Instruct").config))
    advice = fit("owner/new-8B", gpu="L40S")
    assert (advice.known_from, advice.kv_bytes_per_token) == ("its config.json", 131_072)


def test_what_is_wrong_is_one_sentence() -> None:
    with pytest.raises(SpecError, match=r"Did you mean .*mistralai/Mistral-7B-v0\.[13]"):
        fit("mistral-7b-v0.9")
    with pytest.raises(SpecError, match=r"mean meta-llama/Meta-Llama-3-8B-Instruct or meta-llama/"):
        fit("meta-llama/Llama-3-8B")
    with pytest.raises(SpecError, match=r"'xyzzy' is known here\. Any folder"):
        fit("xyzzy")
    with pytest.raises(SpecError, match="no GPU '9999'"):
        fit(MISTRAL, gpu="9999")
    with pytest.raises(UsageError, match="context of 32,768 tokens, not of 99,999"):
        fit(MISTRAL, gpu="T4", context=99_999)
    with pytest.raises(UsageError, match="not both"):
        fit(MISTRAL, gpu="T4", vram_bytes=GIB)


def test_users_at_once_are_no_more_than_the_engine_serves_at_once() -> None:
    rooms = fit("Qwen/Qwen3-8B", gpu="H100-SXM", max_num_seqs=64, kv_cache_dtype="fp8").rooms
    assert [(room.users, room.users_most) for room in rooms if room.context <= 8192] == [
        (64, 64)
    ] * 3
    longest = rooms[-1]
    assert longest.users <= longest.users_most < 64
    halved = fit("Qwen/Qwen3-8B", gpu="H100-SXM", max_num_seqs=64, share=0.45).rooms
    assert halved[-1].users < longest.users


def test_users_of_a_windowed_model_keep_less_than_their_tokens(tmp_path: Path) -> None:
    configs = Path(__file__).parents[1] / "theory" / "public_configs.json"
    gemma = json.loads(configs.read_text())["gemma3_27_full"]
    (tmp_path / "config.json").write_text(json.dumps(gemma))
    advice = fit(str(tmp_path), vram_bytes=80 * GIB)
    assert advice.mixed
    users = {room.context: room.users for room in advice.rooms}
    assert users[4096] / users[65536] < 8  # where all layers keep all it is 16
