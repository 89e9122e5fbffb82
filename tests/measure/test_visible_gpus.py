"""The GPUs that a process sees, resolved by a driver library that follows a script."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.measure.visible_gpus import setting_entries
from journal.records.engine import GpuName

Scripted = Callable[..., Any]

SEEN = """
import json
from journal.doubts.words import absence
from journal.errors import MeasureError, SpecError
from journal.measure.visible_gpus import visible_gpus
try:
    here = visible_gpus(options["variables"])
    unusable = {gpu: absence(why) for gpu, why in here.unusable.items()}
    print(json.dumps({"gpus": here.gpus, "unusable": unusable}))
except (MeasureError, SpecError) as error:
    print(json.dumps({type(error).__name__: str(error)}))
"""
FIRST = "GPU-5c21a7b0-0000-4000-8000-000000000001"  # the healthy trace's
SECOND = "GPU-5c77e1d2-0000-4000-8000-000000000002"
SLICE = "MIG-1f0a0000-0000-4000-8000-000000000003"
OTHER_SLICE = "MIG-1fbb0000-0000-4000-8000-000000000004"
TWO = f"""
    cards 2
    0 1 nvmlDeviceGetName 0 Scripted Card 24GB
    0 1 nvmlDeviceGetUUID 0 {SECOND}
    0 1 nvmlDeviceGetMemoryInfo_v2 0 25769803776 0 4294967296 21474836480
"""
SLICES = f"""
    instance 2 1
    instance 3 1
    0 2 nvmlDeviceGetUUID 0 {SLICE}
    0 3 nvmlDeviceGetUUID 0 {OTHER_SLICE}
"""


def resolved(scripted: Scripted, setting: str | None, trace: str = TWO, **how: Any) -> Any:
    env = {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
    return scripted(SEEN, trace, variables=env, **how)


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, None),
        ("", ()),
        ("0", (0,)),
        ("2, 0", (2, 0)),
        ("0,-1,1", (0,)),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("0,none,1", (0,)),
        ("GPU-8932f937,1", ("GPU-8932f937", 1)),
        ("MIG-abc", ("MIG-abc",)),
    ],
)
def test_entries_count_up_to_the_first_invalid_one(
    setting: str | None, names: tuple[GpuName, ...] | None
) -> None:
    assert setting_entries(setting) == names


@given(st.text(max_size=20))
def test_any_text_has_at_most_as_many_entries_as_commas_part(setting: str) -> None:
    names = setting_entries(setting)
    assert names is not None
    assert len(names) <= setting.count(",") + 1


@pytest.mark.parametrize(
    ("setting", "gpus"),
    [
        (None, [0, 1]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [0]),
        ("1,0", [1, 0]),
        ("1,7,0", [1]),
        ("NoDevFiles", []),
        (SECOND, [1]),
        ("GPU-5c77", [1]),
        (f"GPU-5c77,{FIRST}", [1, 0]),
        ("GPU-5c77,0", [1, 0]),
        (SLICE, [SLICE]),
        ("MIG-1fb", [OTHER_SLICE]),
    ],
)
def test_indices_uuids_and_their_beginnings_are_resolved(
    scripted: Scripted, setting: str | None, gpus: list[GpuName]
) -> None:
    assert resolved(scripted, setting, TWO + SLICES) == {"gpus": gpus, "unusable": {}}


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("7", "there is no GPU 7 here: NVML sees 2"),
        ("7,0", "there is no GPU 7 here: NVML sees 2"),
        ("GPU-00", "no GPU here has the UUID GPU-00: list the UUIDs with nvidia-smi -L"),
        (
            "0,GPU-00",
            "no GPU here has the UUID GPU-00: list the UUIDs with nvidia-smi -L",
        ),
        ("GPU-5c", "GPU-5c is the beginning of 2 UUIDs: write more of it"),
        ("MIG-1f", "MIG-1f is the beginning of 2 UUIDs: write more of it"),
        (
            "MIG-00",
            "no MIG instance here has the UUID MIG-00: list the UUIDs with nvidia-smi -L",
        ),
        ("1,1", "it names a GPU twice, and CUDA then shows none"),
        (f"1,{SECOND}", "it names a GPU twice, and CUDA then shows none"),
    ],
)
def test_what_cannot_be_resolved_is_refused_in_a_sentence(
    scripted: Scripted, setting: str, why: str
) -> None:
    refused = resolved(scripted, setting, TWO + SLICES)
    assert refused == {"SpecError": f"CUDA_VISIBLE_DEVICES is {setting!r}: {why}"}


def test_an_instance_that_the_driver_does_not_list_is_known_by_its_whole_uuid(
    scripted: Scripted,
) -> None:
    unlisted = TWO + SLICES + "0 1 nvmlDeviceGetMaxMigDeviceCount 4"
    assert resolved(scripted, SLICE, unlisted)["gpus"] == [SLICE]
    assert "no MIG instance" in resolved(scripted, "MIG-1f0a", unlisted)["SpecError"]


@pytest.mark.parametrize("function", ["*", "nvmlDeviceGetHandleByIndex_v2"])
def test_a_lost_gpu_is_not_seen_and_the_others_are(scripted: Scripted, function: str) -> None:
    lost = TWO + f"0 0 {function} 15"
    all_of_them = resolved(scripted, None, lost)
    assert all_of_them["gpus"] == [1]
    assert all_of_them["unusable"]["0"].startswith("The driver has lost the GPU")
    assert resolved(scripted, "1", lost) == {"gpus": [1], "unusable": {}}
    refused = resolved(scripted, "0,1", lost)["SpecError"]
    assert "'0,1': GPU 0 cannot be used: The driver has lost the GPU" in refused


def test_a_uuid_that_is_not_known_is_no_reason_to_lose_a_gpu(scripted: Scripted) -> None:
    assert resolved(scripted, None, TWO + "0 0 nvmlDeviceGetUUID 3")["gpus"] == [0, 1]


def test_a_host_without_gpus_shows_none_whatever_is_named(scripted: Scripted) -> None:
    for setting in (None, "0", SECOND):
        assert resolved(scripted, setting, "cards 0", alone=True) == {"gpus": [], "unusable": {}}


def test_a_driver_that_does_not_answer_is_a_reason(scripted: Scripted) -> None:
    assert "reboot" in resolved(scripted, None, "init 18")["MeasureError"]
