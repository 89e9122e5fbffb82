"""Causes of an engine's end that lie in its model: the hub, its files, its settings."""

import re
from collections.abc import Sequence

from journal.serve.engines.vllm.known_cause import Known, Reckoned
from journal.serve.engines.vllm.start_log import StartLog

HUB_TOKEN = "set HF_TOKEN in the environment"
_NO_HUB = (
    "the model is not on this machine and the Hugging Face hub could not be reached",
    "check the network, or name a directory that holds the model",
)
_GATED = (
    "the model is gated",
    f"accept its licence on its page on the hub, and {HUB_TOKEN}",
)


def _even_split(groups: Sequence[str], _: StartLog) -> Sequence[str] | None:
    heads, gpus = int(groups[1]), int(groups[2])
    even = [count for count in range(1, min(gpus, 4096)) if heads % count == 0]
    return (str(even[-1]),) if even else None


HEADS = Known(
    re.compile(
        r"(Total number of attention heads \((\d{1,6})\) must be divisible by tensor parallel size "
        r"\((\d{1,6})\))"
    ),
    "vLLM refuses what was asked ({0})",
    "correct it",
    reckoned=(Reckoned("lower tensor_parallel to {0}", _even_split),),
)
MODEL: list[tuple[str, ...] | Known] = [
    (
        r"enable access to public gated repositories",
        "HF_TOKEN may not read gated models",
        "allow it in the settings of that token on the hub",
    ),
    (
        r"Invalid (?:credentials in Authorization header|username or password|user token)",
        "the Hugging Face hub refuses HF_TOKEN",
        "set a token that is valid, or none",
    ),
    (
        r"RepositoryNotFoundError|Repository Not Found for url|"
        r"is not a local folder and is not a valid model identifier",
        "the Hugging Face hub knows no such model",
        f"correct its name, or {HUB_TOKEN} if it is private",
    ),
    (r"[Aa]ccess to model|gated repo|awaiting a review|GatedRepoError", *_GATED),
    (r"RevisionNotFoundError", "the model has no such revision", "correct it"),
    (
        r"OfflineModeIsEnabled|offline mode is enabled",
        "the model is not on this machine, and HF_HUB_OFFLINE forbids to fetch it",
        "unset HF_HUB_OFFLINE, or name a directory that holds the model",
    ),
    (
        r"(?:Max retries exceeded|NameResolutionError|Name or service not known|"
        r"[Tt]emporary failure in name resolution|ConnectTimeout).*huggingface\.co|"
        r"huggingface\.co.*(?:Max retries exceeded|NameResolutionError)",
        *_NO_HUB,
    ),
    (
        r"huggingface\.co.{0,200}(?:Read timed out|read operation timed out)",
        "the Hugging Face hub did not answer in time",
        "try again, raise HF_HUB_DOWNLOAD_TIMEOUT in engine.env, or fetch the model beforehand",
    ),
    (r"LocalEntryNotFoundError|We couldn't connect to '(?:[^']*)'", *_NO_HUB),
    (
        r"Repo id must be in the form [^:]*: '([^']+)'",
        "{0} is no directory on this machine, and no name of a model on the hub",
        "correct the path, or make it visible to the engine (docker run -v)",
    ),
    (
        r"Invalid repository ID or local directory specified: *'([^']+)'",
        "{0} is neither a model on the hub nor a directory with a config.json",
        "correct the name or the path",
    ),
    (
        r"(\S+) does not appear to have a file named (config\.json|[\w.-]+)",
        "{0} has no {1}",
        "name a model that has it, or complete the download",
    ),
    (
        r"429 Client Error|Too Many Requests",
        "the Hugging Face hub takes no more requests from here for now",
        f"try later, or {HUB_TOKEN}",
    ),
    (
        r"SafetensorError|Error while deserializing header|PytorchStreamReader failed",
        "a file of the model's weights is damaged or not whole",
        "delete it and fetch it again",
    ),
    (
        r"Following weights were not initialized from checkpoint: \{?([^,}\n]+)",
        "the checkpoint lacks weights of the model (among them {0})",
        "fetch the model again, or take a build that this vLLM knows",
    ),
    (
        r"There is no module or parameter named '([^']+)'",
        "the checkpoint holds a weight that this vLLM's model has no place for ({0})",
        "update vLLM, or take a build of the model that it knows",
    ),
    (
        r"Can't load tokenizer for '([^']+)'|(Couldn't instantiate the backend tokenizer)",
        "the model's tokenizer could not be loaded ({0})",
        "complete the model's directory, name a tokenizer (--tokenizer), or update transformers",
    ),
    (
        r"is not divisible by [^\n]*(?:tensor_parallel_size|min_thread|block_[nk])|"
        r"too large tensor parallel size",
        "the quantised weights cannot be cut over that many GPUs",
        "lower tensor_parallel, or take another quantisation",
    ),
    (
        r"max_num_batched_tokens \((\d+)\) is smaller than max_model_len \((\d+)\)",
        "max_num_batched_tokens {0} is below max_model_len {1}, and prompts are not cut",
        "raise max_num_batched_tokens to {1}, or lower max_model_len to {0}",
    ),
    (
        r"max_num_batched_tokens \((\d+)\) must be greater than or equal to max_num_seqs "
        r"\((\d+)\)",
        "max_num_batched_tokens {0} is below max_num_seqs {1}",
        "raise max_num_batched_tokens to {1}, or lower max_num_seqs to {0}",
    ),
    (
        r"LoRA rank (\d+) is greater than max_lora_rank (\d+)",
        "the adapter has rank {0}, and max_lora_rank is {1}",
        "raise max_lora_rank to {0}",
    ),
    HEADS,
    (
        r"Cannot find any model weights with [`'\"]?([^`'\"\n]+)",
        "{0} holds no weights that vLLM can read",
        "name a directory or a model that has them",
    ),
    (
        r"max_model_len \((\d+)\) is greater than the derived max_model_len "
        r"\((?:\w+=None(?: or |, ))?\w+=(\d+)",
        "max_model_len {0} is longer than the model's context of {1}",
        "lower it to {1}",
    ),
    (
        r"Unknown quantization method: ([\w-]+)",
        "this vLLM knows no quantisation named {0}",
        "correct it",
    ),
    (
        r"Cannot find the config file for ([\w-]+)",
        "the model's weights are not quantised as {0}",
        "name a build of the model that is, or drop the quantisation",
    ),
    (
        r"Quantization method specified in the model config \(([\w-]+)\) does not match the "
        r"quantization method specified in the `quantization` argument \(([\w-]+)\)",
        "the model's weights are quantised as {0}, not as {1}",
        "drop the quantisation, or correct it",
    ),
    (
        r"torch\.(\w+) is not supported for quantization method ([\w-]+)\. Supported dtypes: "
        r"\[(?:torch\.)?(\w+)",
        "quantisation {1} does not run in {0}",
        'set dtype = "{2}"',
    ),
    (
        r"Model architectures \['([^']*)'[^\n]{0,80}failed to be inspected",
        "vLLM could not load its own code for the architecture {0}",
        "see the exception before it in the log",
    ),
    (
        r"Model architectures \['([^']*)'",
        "this vLLM cannot serve the architecture {0}",
        "update vLLM, or take another model",
    ),
    (
        r"model type `([\w-]+)` but Transformers does not recognize",
        "the transformers beside this vLLM do not know the model type {0}",
        "update both, or take another model",
    ),
    (
        r"contains custom code|trust_remote_code=True",
        "the model brings code of its own",
        "read it, and set trust_remote_code = true to run it",
    ),
    (
        r"KeyError: '((?:\w+\.)*(?:layers|blocks|h)\.\d+\.[^']*)'",
        "the checkpoint holds a weight that this vLLM's model has no place for ({0})",
        "update vLLM, or take a build of the model that it knows",
    ),
    (
        r"validation errors? for \w+\n([\w.]+)\n\s*([^\n]+?) \[type=(?!value_error)",
        "vLLM refuses the value of {0} ({1})",
        "correct it",
    ),
    (
        r"Value error, (.+?)(?: \[type=|\n|$)",
        "vLLM refuses what was asked ({0})",
        "correct it",
    ),
]
