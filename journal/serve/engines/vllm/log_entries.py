"""The lines of vLLM's log, taken apart: the process, the level, the place and the text of each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from journal.serve.engines.log_lines import clean

# Prefixes of other programs: Docker Compose, Kubernetes, the systemd journal.
_CARRIERS = (
    re.compile(r"[\w.-]+ +\| ?"),
    re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d) (?:std(?:out|err) [FP] )?"),
    re.compile(r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ [\w.@-]+(?:\[\d+\])?: ?"),
)
# "(Worker_TP1 pid=7) ", "(VllmWorker rank=0 pid=5) ", "[rank0]: ".
_PROCESS = re.compile(r"\((\w+(?: [^()]*?pid=\d+[^()]*)?)\) ?|\[(rank\d+)\]: ?")
# "ERROR 11-23 17:05:56 [core.py:402] ", "INFO 12-02 10:00:00 worker.py:232] ",
# "INFO vllm.v1.worker.gpu_worker    : ", "INFO:     ".
_LEVEL = re.compile(
    r"(DEBUG|INFO|WARNING|ERROR|CRITICAL)(?:: +|\s+(?:[\d-]+[ T])?(?:[\d:.,]+ +)?"
    r"(?:\[?([\w./-]+:\d+)\]|(vllm[\w.]*) *:) ?)"
)
_GROUP = re.compile(r"[ +|]*\| (?=\S)")  # of a traceback of several exceptions


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a log. `process` wrote it (such as "Worker_TP1 pid=7"), `level` is its level
    (such as "ERROR"), `place` its place in the source (such as "core.py:402"); each is empty where
    the line lacks it."""

    process: str
    level: str
    place: str
    text: str


def entries(lines: Iterable[str]) -> list[LogEntry]:
    """`lines` taken apart; lines that are empty are left out."""
    return [entry for line in lines if (entry := _entry(clean(line))).text.strip()]


def _entry(line: str) -> LogEntry:
    for carrier in _CARRIERS:
        if match := carrier.match(line):
            line = line[match.end() :]
    process = ""
    while match := _PROCESS.match(line):
        process, line = match[1] or process or match[2], line[match.end() :]
    level = place = ""
    if match := _LEVEL.match(line):
        level, place, line = match[1], match[2] or match[3] or "", line[match.end() :]
    if match := _GROUP.match(line):
        line = line[match.end() :]
    return LogEntry(process, level, place, line.rstrip())
