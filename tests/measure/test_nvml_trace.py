"""A recorded trace, replayed: each GPU answers as it did."""

from collections.abc import Callable
from typing import Any

Scripted = Callable[..., Any]

RECORD = """
import json
from journal.measure import nvml_trace as trace
print(json.dumps(trace.record_nvml(options["seconds"])))
"""
READ = """
import dataclasses, json
from journal.measure.gpu import Gpus, driver
with Gpus() as gpus:
    looks = [[dataclasses.asdict(one) for one in gpus.look(0, frozenset([101]))] for _ in range(9)]
    print(json.dumps([driver(), [dataclasses.asdict(gpu) for gpu in gpus.gpus], looks]))
"""
SECOND = """
cards 2
0 1 nvmlDeviceGetName 0 Another Card
0 1 nvmlDeviceGetMemoryInfo_v2 3
0 1 nvmlDeviceGetMemoryInfo 0 1000 400 600
2 1 nvmlDeviceGetMemoryInfo 0 1000 300 700
0 1 nvmlDeviceGetPowerUsage 4
0 1 nvmlDeviceGetComputeRunningProcesses_v3 0 7:-
"""


def test_what_was_recorded_is_given_again(scripted: Scripted) -> None:
    """The recorder takes its first look after the GPUs were opened, so it is one look late."""
    trace = scripted(RECORD, SECOND, seconds=0.85)
    first = scripted(READ, SECOND)
    again = scripted(READ, trace, alone=True)
    assert again[:2] == first[:2]
    assert again[2][:-1] == first[2][1:]


def test_its_first_line_says_where_and_when(scripted: Scripted) -> None:
    trace = scripted(RECORD, seconds=0.1)
    head, looks, count = trace.splitlines()[:3]
    assert head.startswith("# Recorded on 20")
    assert "Scripted Card 80GB" in head
    assert looks.endswith("looks in 0.1 s, one every 0.1 s.")
    assert count == "cards 1"


def test_only_what_changes_is_written(scripted: Scripted) -> None:
    trace = scripted(RECORD, seconds=0.85)
    memory = [line for line in trace.splitlines() if " nvmlDeviceGetMemoryInfo_v2 " in line]
    assert [line.split()[0] for line in memory] == ["0", "2"]
    assert len([line for line in trace.splitlines() if "GetName" in line]) == 1
