"""The command-line flags of vLLM that the journal chooses itself or refuses."""

from collections.abc import Mapping

from journal.records.experiment import Engine

RESERVED: frozenset[str] = frozenset(
    {"--host", "--port", "--served-model-name", "--model", "--uds"}
)
# Every user could read them in the list of processes.
SECRET: frozenset[str] = frozenset({"--api-key", "--hf-token"})
# Fields of an experiment set these, so that every count of GPUs has them.
FIELDS: Mapping[str, str] = {
    "--tensor-parallel-size": "tensor_parallel",
    "-tp": "tensor_parallel",
    "--pipeline-parallel-size": "pipeline_parallel",
    "-pp": "pipeline_parallel",
    "--distributed-executor-backend": "executor",
}

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt")


def flag_name(flag: str) -> str:
    """`--some_flag=3` as `--some-flag`."""
    return flag.partition("=")[0].replace("_", "-")


def names_flag(engine: Engine, *flags: str) -> bool:
    """Whether the flags of `engine` name one of `flags`."""
    return any(flag_name(flag) in flags for flag in engine.flags)


def weight_files(engine: Engine) -> tuple[str, ...]:
    """The patterns of files that vLLM looks for weights in, in the folder of a model; none where
    the flags choose a load format, such as dummy weights."""
    return () if names_flag(engine, "--load-format") else WEIGHT_FILES
