"""The lines of vLLM's log, taken apart: the process, the level, the place and the text of each."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from journal.serve.engines.log_lines import clean

# Prefixes of other programs: Docker Compose, kubectl, Kubernetes, the systemd journal, srun.
_CARRIERS = (
    re.compile(r"[\w.-]+ +\| ?"),
    re.compile(r"\[pod/[^\]]+\] "),
    re.compile(
        r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d) "
        r"(?:std(?:out|err) [FP] |\S+ [\w.@-]+\[\d+\]: )?"
    ),
    re.compile(r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ [\w.@-]+(?:\[\d+\])?: ?"),
    re.compile(r" {0,3}\d{1,4}: "),
)
# Fields that hold the line where each line is JSON: of Docker's files, of the systemd journal, and
# of common loggers.
_LINE_FIELDS = ("log", "MESSAGE", "message", "msg")
MOST_PREFIXES = 6
_COLOUR = re.compile(r"\[\d{1,3}(?:;\d{1,3}){0,4}m")  # whose escape character was lost on the way
_FRAME = re.compile(r"^[│║] ?|(?<!\s)\s*+[│║]\s*+$")  # of a terminal program around each line
# "(Worker_TP1 pid=7) ", "(VllmWorker rank=0 pid=5) ", "[rank0]: "; of Ray
# "(A(B(C)) pid=5, ip=10.0.0.7) ".
_PROCESS = re.compile(
    r"\((\w+(?:[()\w.:,-]{0,99} [^()]{0,99}?pid=\d+[^()]{0,99})?)\) ?|\[(rank\d+)\]: ?"
)
# "ERROR 11-23 17:05:56 [core.py:402] ", "INFO 12-02 10:00:00 worker.py:232] ",
# "INFO vllm.v1.worker.gpu_worker    : ", "INFO:     ".
_LEVEL = re.compile(
    r"(DEBUG|INFO|WARNING|ERROR|CRITICAL)(?:: +|\s+(?:[\d-]+[ T])?(?:[\d:.,]+ +)?"
    r"(?:\[?([\w./-]+:\d+)\]|(vllm[\w.]*) *:) ?)"
)
# "11-23 17:05:56", "2026-11-23T17:05:56.123", "Nov 23 17:05:56"; the year counts for nothing.
_TIME = re.compile(r"(?:(\d\d)-|([A-Z][a-z]{2}) +)(\d\d?)[ T](\d\d):(\d\d):(\d\d(?:\.\d{1,6})?)")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_LEAP_YEAR = 2000
MOST_OF_A_LINE = 20_000  # characters; a longer line is cut
_GROUP = re.compile(r"[ +|]*\| (?=\S)")  # of a traceback of several exceptions


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a log. `process` wrote it (such as "Worker_TP1 pid=7"), `level` is its level
    (such as "ERROR"), `place` its place in the source (such as "core.py:402"); each is empty where
    the line lacks it. `at_s` is its time in s since the beginning of some year, by the engine or
    else by the program that carried the line; None where it has none. `outer` is the process that
    passed the line on, where its log names one beside the one that wrote it."""

    process: str
    level: str
    place: str
    text: str
    at_s: float | None = None
    outer: str = ""


def each_entry(lines: Iterable[str]) -> Iterator[LogEntry]:
    """`lines` taken apart, one by one; lines that are empty are left out."""
    for line in lines:
        for part in _unpacked(line[:MOST_OF_A_LINE]):
            entry = _entry(clean(part))
            if entry.text.strip():
                yield entry


def entries(lines: Iterable[str]) -> list[LogEntry]:
    """`lines` taken apart; lines that are empty are left out."""
    return list(each_entry(lines))


def _unpacked(line: str) -> Iterable[str]:
    """The lines within `line`, where it is JSON about them."""
    if not line.lstrip().startswith("{"):
        return (line,)
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return (line,)
    texts = (fields.get(name) for name in _LINE_FIELDS)
    text = next((text for text in texts if isinstance(text, str)), None)
    return (line,) if text is None else text.splitlines()


def _entry(line: str) -> LogEntry:
    at_s, line = None, _FRAME.sub("", _COLOUR.sub("", line))
    process = outer = ""
    for _ in range(MOST_PREFIXES):
        if match := _PROCESS.match(line):
            process, outer = match[1] or process or match[2], process
        elif match := next(filter(None, (one.match(line) for one in _CARRIERS)), None):
            at_s = _time_s(match[0]) if at_s is None else at_s
        else:
            break
        line = line[match.end() :]
    level = place = ""
    if match := _LEVEL.match(line):
        level, place, line = match[1], match[2] or match[3] or "", line[match.end() :]
        own_s = _time_s(match[0])
        at_s = at_s if own_s is None else own_s
    if match := _GROUP.match(line):
        line = line[match.end() :]
    return LogEntry(process, level, place, line.rstrip(), at_s, outer)


def _time_s(text: str) -> float | None:
    match = _TIME.search(text)
    if match is None:
        return None
    month = int(match[1]) if match[1] else _MONTHS.find(match[2]) // 3 + 1
    try:
        day = datetime(_LEAP_YEAR, month, int(match[3]), int(match[4]), int(match[5]))
    except ValueError:
        return None
    return (day - datetime(_LEAP_YEAR, 1, 1)).total_seconds() + float(match[6])
