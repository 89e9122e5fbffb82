"""NVML's errors as the values of a doubt, and sessions in which NVML is open."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pynvml

from journal.doubts.words import absence
from journal.errors import MeasureError, SpecError
from journal.records.doubt import Values

# Errors that end all reading, with their variants of the doubt "absent".
STOPS = {
    pynvml.NVML_ERROR_NO_PERMISSION: "driver_denied",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "gpu_unpowered",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver_not_loaded",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_driver",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "driver_too_old",
    pynvml.NVML_ERROR_GPU_IS_LOST: "gpu_lost",
    pynvml.NVML_ERROR_RESET_REQUIRED: "gpu_reset",
    pynvml.NVML_ERROR_OPERATING_SYSTEM: "driver_blocked",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver_updated",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "no_gpu",
}
LOST = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
}
# Errors after which a question is never answered, with their words in the doubt "absent".
NEVER = {
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "unknown",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "unsupported",
    pynvml.NVML_ERROR_NO_PERMISSION: "denied",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "too_old",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "mismatch",
    pynvml.NVML_ERROR_DEPRECATED: "deprecated",
}
# NVML's errors for a GPU that is not there.
UNKNOWN = {pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_FOUND}
NO_GPU = {pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_GPU_NOT_FOUND}


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Turn NVML's errors inside the block into MeasureErrors."""
    try:
        yield
    except pynvml.NVMLError as error:
        why = absence_values(error)
        raise MeasureError(absence(why), why) from error


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Keep NVML open while the block runs. Raises MeasureError, with the reason, where NVML cannot
    be opened or fails."""
    with asking():
        pynvml.nvmlInit()
        try:
            yield
        finally:
            shut()


def shut() -> None:
    """Close NVML."""
    with contextlib.suppress(pynvml.NVMLError):  # the driver may have been unloaded
        pynvml.nvmlShutdown()


def absence_values(error: Any) -> Values:
    """The values of a doubt "absent" for an NVMLError that ends all reading."""
    variant = STOPS.get(error.value)
    if variant is None:
        return {"variant": "nvml_fails", "error": str(error)}
    return {"variant": variant}


def has_none(error: MeasureError) -> bool:
    """Whether `error` means that this host has no GPU or hides it, and not that a GPU cannot be
    used."""
    cause = error.__cause__
    if isinstance(cause, SpecError):
        return False
    return cause is None or getattr(cause, "value", None) in NO_GPU
