import pytest

from journal.errors import SpecError
from journal.theory.architecture import architecture, essence, parameters
from journal.theory.model_table import MODELS, Model, find_model

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 10,
    "max_position_embeddings": 8192,
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.names[0])
def test_every_known_model_counts_to_its_published_parameters(model: Model) -> None:
    assert parameters(model.architecture).total == model.published


def test_a_small_model_counted_by_hand() -> None:
    count = parameters(architecture(LLAMA))
    layer = 4 * 8 * 8 + 3 * 8 * 16
    assert (count.linear, count.used) == (2 * layer, 2 * layer)
    assert (count.embedding, count.head) == (80, 80)
    assert count.other == 2 * 2 * 8 + 8
    assert parameters(architecture(LLAMA | {"tie_word_embeddings": True})).head == 0


def test_biases_are_counted() -> None:
    plain = parameters(architecture(LLAMA)).other
    assert parameters(architecture(LLAMA | {"attention_bias": True})).other == plain + 2 * 4 * 8
    qwen = parameters(architecture(LLAMA | {"model_type": "qwen2"})).other
    assert qwen == plain + 2 * 3 * 8


def test_a_router_passes_a_token_through_some_experts() -> None:
    count = parameters(find_model("Mixtral-8x7B-v0.1").architecture)
    assert round((count.used + count.embedding + count.head) / 1e9, 1) == 12.9  # as published
    assert count.linear > 3 * count.used


def test_defaults_of_a_sparse_config() -> None:
    model = architecture({**LLAMA, "num_key_value_heads": None, "head_dim": None})
    assert (model.kv_heads, model.head_dim, model.experts, model.window) == (2, 4, 1, None)
    assert model.context == 8192


def test_what_a_config_leaves_out_has_the_usual_size() -> None:
    bare = {name: size for name, size in LLAMA.items() if name != "intermediate_size"}
    assert architecture(bare).intermediate == 11008  # that of LlamaConfig
    strange = architecture(bare | {"model_type": "new"})
    assert (strange.intermediate, strange.experts_used, strange.tied) == (4 * 8, 1, False)
    latent = {**LLAMA, "model_type": "new", "kv_lora_rank": 16}
    assert architecture(latent).latent == 16
    assert architecture(latent | {"qk_rope_head_dim": 4}).latent == 20


def test_the_text_part_of_a_model_of_several_parts() -> None:
    outer = {"model_type": "gemma3", "text_config": LLAMA, "vision_config": {"hidden_size": 99}}
    assert architecture(outer).hidden == 8
    thinker = {"text_config": LLAMA, "audio_config": {"d_model": 99}}
    omni = {"model_type": "qwen2_5_omni", "thinker_config": thinker, "talker_config": {}}
    assert architecture(omni).hidden == 8
    assert architecture(omni | {"thinker_config": LLAMA}).hidden == 8


@pytest.mark.parametrize(
    ("changes", "window", "layers"),
    [
        ({"sliding_window": 4096}, 4096, 12),
        ({"sliding_window": None}, None, 0),
        ({"sliding_window": 0}, None, 0),
        ({"sliding_window": 4096, "use_sliding_window": False}, None, 0),
        ({"sliding_window": 4096, "model_type": "gemma2"}, 4096, 6),
        ({"sliding_window": 512, "model_type": "gemma3_text"}, 512, 10),
        ({"sliding_window": 512, "layer_types": ["full_attention"] * 12}, None, 0),
        (
            {"sliding_window": 512, "layer_types": ["sliding_attention"] * 3 + ["full"] * 9},
            512,
            3,
        ),
    ],
)
def test_windows(changes: dict[str, object], window: int | None, layers: int) -> None:
    model = architecture(LLAMA | {"num_hidden_layers": 12} | changes)
    assert (model.window, model.windowed_layers) == (window, layers)


GPTQ_OF_LLM_COMPRESSOR = {
    "quant_method": "compressed-tensors",
    "config_groups": {
        "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}},
    },
}
FP8_OF_LLM_COMPRESSOR = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float", "group_size": None}}},
}


@pytest.mark.parametrize(
    ("packed", "packing"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("awq", 4, 128)),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, ("awq", 4, 64)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("gptq", 8, None)),
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, ("fp8", 8, None)),
        ({"quant_method": "fbgemm_fp8"}, ("fp8", 8, None)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4, 64)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes", 8, None)),
        (GPTQ_OF_LLM_COMPRESSOR, ("gptq", 4, 128)),
        (FP8_OF_LLM_COMPRESSOR, ("fp8", 8, None)),
        ({"quant_method": "compressed-tensors"}, ("compressed-tensors", None, None)),
        ({"quant_method": "new"}, ("new", None, None)),
        ({}, (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_the_packing_of_a_checkpoint_is_known(packed: object, packing: tuple[object, ...]) -> None:
    model = architecture(LLAMA | {"quantization_config": packed})
    assert (model.quantisation, model.bits, model.group) == packing


@pytest.mark.parametrize("config", [model.config for model in MODELS])
def test_what_is_kept_of_a_config_is_all_that_is_read(config: dict[str, object]) -> None:
    packed = {"quantization_config": {**FP8_OF_LLM_COMPRESSOR, "ignore": ["lm_head"] * 99}}
    long = {**config, **packed, "torch_dtype": "bfloat16", "architectures": ["X"], "bos": 1}
    kept = essence(long)
    assert architecture(kept) == architecture(long)
    assert essence(kept) == kept
    assert not {"architectures", "bos"} & kept.keys()
    outer = {"model_type": "several", "text_config": config, "torch_dtype": "float16"}
    assert architecture(essence(outer)) == architecture(outer)
    assert architecture(outer).dtype == "float16"


def test_a_config_without_sizes_is_an_error_that_names_the_key() -> None:
    with pytest.raises(SpecError, match="this bert model lacks 'num_hidden_layers'"):
        architecture({"model_type": "bert"})


def test_an_unknown_architecture_is_not_guessed_at() -> None:
    model = architecture(LLAMA | {"model_type": "mamba9"})
    with pytest.raises(SpecError, match="'mamba9' model cannot be counted"):
        parameters(model)


# ---- the table -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "mistralai/Mistral-7B-Instruct-v0.2",
        "mistral-7b-instruct-v0.2",
        "TheBloke/Mistral-7B-Instruct-v0.2-AWQ",
    ],
)
def test_a_model_is_found_by_its_names_and_builds(name: str) -> None:
    assert find_model(name).names[0] == "mistralai/Mistral-7B-Instruct-v0.2"


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"Did you mean .*mistralai/Mistral-7B-Instruct-v0\.\d"):
        find_model("Mistral-7B-Instruct-v0.9")


def test_no_two_models_share_a_name() -> None:
    names = [name.lower() for model in MODELS for name in (*model.names, *model.variants.values())]
    tails = [name.rpartition("/")[2] for name in names]
    assert len(set(names)) == len(names)
    assert len(set(tails)) == len(tails)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_hidden_layers": 8 * 10**76}, "num_hidden_layers"),
        ({"num_hidden_layers": 20_000}, "num_hidden_layers"),
        ({"num_attention_heads": 10**12}, "num_attention_heads"),
        ({"hidden_size": 10**400}, "hidden_size"),
        ({"intermediate_size": [16, 10**400]}, "intermediate_size"),
    ],
)
def test_sizes_that_no_memory_could_hold_are_refused_at_once(
    change: dict[str, object], named: str
) -> None:
    with pytest.raises(SpecError, match=f"'{named}' above"):
        architecture(LLAMA | change)
