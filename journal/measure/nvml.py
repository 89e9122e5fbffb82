"""NVML's errors, as sentences, and a session in which it is asked."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pynvml

from journal.errors import MeasureError, SpecError

STOPS = {
    pynvml.NVML_ERROR_NO_PERMISSION: "This user may not talk to the NVIDIA driver: check who may"
    " open /dev/nvidia*.",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "A GPU lacks external power: check its cables.",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA driver is installed but not loaded: load it"
    " (modprobe nvidia) or reboot.",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "No NVIDIA driver is installed here (libnvidia-ml.so.1"
    " was not found), so VRAM cannot be read; a container needs --gpus all.",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "The NVIDIA driver is too old to be read: update it.",
    pynvml.NVML_ERROR_GPU_IS_LOST: "The driver has lost the GPU: look for its Xid in dmesg, then"
    " reset the GPU or reboot.",
    pynvml.NVML_ERROR_RESET_REQUIRED: "The GPU must be reset before it can be read.",
    pynvml.NVML_ERROR_OPERATING_SYSTEM: "The operating system blocks the NVIDIA driver: check the"
    " sandbox or the device cgroup.",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver was updated while the old one"
    " is still loaded: reboot.",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "The NVIDIA driver finds no GPU: check nvidia-smi.",
}
LOST = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
}
NEVER = {
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "this GPU does not know the question",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not supported by this GPU, its MIG mode or this platform",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not read it",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this driver is too old to answer",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "this driver speaks another version of NVML",
    pynvml.NVML_ERROR_DEPRECATED: "this driver no longer answers",
}
# NVML answers so for a GPU that is not there.
UNKNOWN = {pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_FOUND}
NO_GPU = {pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_GPU_NOT_FOUND}


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Turns NVML's errors into MeasureErrors."""
    try:
        yield
    except pynvml.NVMLError as error:
        raise MeasureError(reason(error)) from error


@contextlib.contextmanager
def session() -> Iterator[None]:
    """NVML, open for as long as the block lasts. Raises MeasureError, with the reason, where it
    cannot be opened or fails."""
    with asking():
        pynvml.nvmlInit()
        try:
            yield
        finally:
            shut()


def shut() -> None:
    with contextlib.suppress(pynvml.NVMLError):  # the driver may have gone before us
        pynvml.nvmlShutdown()


def reason(error: Any) -> str:
    """Why reading stops, in a sentence."""
    return STOPS.get(error.value, f"NVML cannot be used: {error}. Check nvidia-smi.")


def has_none(error: MeasureError) -> bool:
    """Whether `error` says that this host has no GPU, or hides it, rather than that one cannot be
    used."""
    cause = error.__cause__
    if isinstance(cause, SpecError):
        return False
    return cause is None or getattr(cause, "value", None) in NO_GPU
