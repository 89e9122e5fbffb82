"""NVML's errors, as the reasons that a doubt gives, and a session in which it is asked."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pynvml

from journal.doubts.words import absence
from journal.errors import MeasureError, SpecError
from journal.records.doubt import Values

# Why reading stops, by the variant of the doubt "absent" that says it.
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
# Why a question is never answered, by its word in the doubt "absent".
NEVER = {
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "unknown",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "unsupported",
    pynvml.NVML_ERROR_NO_PERMISSION: "denied",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "too_old",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "mismatch",
    pynvml.NVML_ERROR_DEPRECATED: "deprecated",
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
        why = reason(error)
        raise MeasureError(absence(why), why) from error


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


def reason(error: Any) -> Values:
    """Why reading stops, as the values of a doubt "absent"."""
    variant = STOPS.get(error.value)
    if variant is None:
        return {"variant": "nvml_fails", "error": str(error)}
    return {"variant": variant}


def has_none(error: MeasureError) -> bool:
    """Whether `error` says that this host has no GPU, or hides it, rather than that one cannot be
    used."""
    cause = error.__cause__
    if isinstance(cause, SpecError):
        return False
    return cause is None or getattr(cause, "value", None) in NO_GPU
