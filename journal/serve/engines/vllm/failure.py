"""The cause of an engine's end: first the exception that ended it is found, then it is explained.

A phrase of the log outside that exception explains nothing: engines print "out of memory" or
"trust_remote_code" while they run well.
"""

import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from journal.errors import EngineError, EngineOutOfMemory
from journal.records.explanation import Phrase
from journal.serve.engines.log_lines import NOISE, tail
from journal.serve.engines.vllm.causes_host import SHARED_MEMORY
from journal.serve.engines.vllm.failure_causes import CAUSES
from journal.serve.engines.vllm.known_cause import Known
from journal.serve.engines.vllm.log_entries import LogEntry
from journal.serve.engines.vllm.start_log import StartLog, facts_of, last_start
from journal.serve.engines.vllm.start_wordings import PHASES

MOST_OF_A_LINE = 600
MOST_OF_A_MESSAGE = 30  # lines
MOST_OF_A_MESSAGE_LINE = 4000
MOST_BEFORE = 80  # lines of the same process that may give the reason of an exception
# The last line of a traceback: "ValueError: what happened".
RAISED = re.compile(
    r"((?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failed|OutOfResources)"
    r"|OutOfResources)(?:\([\w.]+\))?)(?::\s*(.*))?"
    r"|((?:[a-z_]\w*\.)+[A-Z]\w*):\s(.*)"
)
# The same after an unknown prefix.
WITHIN = re.compile(r".*[\s:|\]>-](?:\w+\.)*\w*(?:Error|Exception): .+")
# Errors of pydantic (below its own line), of argparse and of the shell, and of uvicorn.
REFUSED = re.compile(r"\s+(Value error, .+)|[\w./ -]+: (error: .+)|\[Errno \d+\] .+")
CHAINED = re.compile(
    r"The above exception was the direct cause|During handling of the above exception"
)
TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
# Exceptions that only say that another process or thread has failed.
WRAPPER = re.compile(
    r"Engine core initialization failed|Worker failed with error|EngineCore encountered an issue"
    r"|WorkerProc initialization failed|Executor failed|\bcancelled|CancelledError|\[Errno 32\]"
    r"|EngineDeadError|EngineLoop has|[Ee]ngine process failed to start|errored already"
    r"|^(?:SystemExit|KeyboardInterrupt|BrokenPipeError|EOFError|ConnectionResetError)\b"
    r"|Engine core proc \S+ died|ActorDiedError"
    r"|initialization failed due to an exception in a background"
)
# They follow from the end of another rank: a cause only where there is no other.
CONSEQUENCE = re.compile(
    r"Connection closed by peer|Connection reset by peer|NCCL communicator was aborted"
    r"|remote process exited|DistNetworkError|clients joined|shm_broadcast|ContextTerminated"
    r"|Broken pipe|Watchdog caught"
)
QUOTED = re.compile(r"Worker failed with error ['\"](.+?)['\"], please check")
DIED = re.compile(
    r"Worker proc \S+ died unexpectedly|engine core exited unexpectedly"
    r"|Engine core proc \S+ died unexpectedly|actor died unexpectedly"
)
VANISHED = re.compile(rf"{DIED.pattern}|initialization failed")
KILLED = re.compile(
    r"Killed|.*line \d+:\s+\d+ Killed\b.*|.*\boom[-_]kill(?:er)?\b.*|.*\bOOM ?Killed\b.*"
    r"|.*\bOut of memory: Killed process\b.*|srun: error: .*Out Of Memory.*"
    r"|.*\b[Ee]xit(?:ed)?(?: with)?[ _]?[Cc]ode:? (?:137|-9)\b.*"
)
ENDED_WITH = re.compile(r"Failed core proc\(s\): \{'?\w+'?: (-?\d{1,3})\b")
CRASHED = re.compile(r"(Fatal Python error: .+|Segmentation fault.*|!+ Segfault encountered !+)")
BUS_ERROR = re.compile(r"(?:.*line \d+:\s+\d+ )?Bus error\b.*|Fatal Python error: Bus error.*")
ENDING = re.compile(r"shut|terminat|clean|exit|stop|bye|died|kill", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception in a log: `lines` are its name and message, `index` that of its first line
    among the entries, `cause` the exception that it was raised from or while it was handled."""

    process: str
    lines: tuple[str, ...]
    index: int
    cause: "Raised | None" = None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def chain(self) -> Iterator["Raised"]:
        """This exception and those behind it, the first one last."""
        raised: Raised | None = self
        while raised is not None:
            yield raised
            raised = raised.cause


OWN_WORDS = "{0}"  # the template of a cause that is not known: the words of the exception
NO_REASON = Phrase("its log gives no reason")
KILLED_BY_KERNEL = (
    Phrase("the kernel killed it, as it does when the host's memory runs out (dmesg says so)"),
    Phrase("free memory, or take a smaller model"),
)
ENDED_BY_ITSELF = "the engine core ended with code {0}, and its log does not say why"
PROCESS_CRASHED = "one of its processes crashed ({0})"
CRASHED_ON_THE_BUS = (
    "one of its processes crashed (bus error), as when the shared memory in /dev/shm is full"
)
PROCESS_VANISHED = Phrase(
    "one of its processes vanished, as when the kernel kills it because the host's memory runs out "
    "(dmesg tells)"
)


@dataclass(frozen=True, slots=True)
class Cause:
    """The cause of an engine's end. `advice` says what to change, where that is known; `line` is
    the engine's own line about it."""

    words: Phrase
    advice: Phrase | None = None
    out_of_memory: bool = False
    line: str | None = None

    @property
    def remedy(self) -> str | None:
        return None if self.advice is None else self.advice.text

    @property
    def sentence(self) -> str:
        cause, remedy = self.words.text, self.remedy
        return cause if remedy is None else f"{cause}: {remedy}"


def failure(event: str, text: str, log_path: Path) -> EngineError:
    """The error to raise, with the cause, when `event` happened to an engine that has logged
    `text`."""
    start, log = last_start(text.splitlines())
    cause, known = cause_of(log, start), facts_of(start)
    if cause.line is not None:
        known = replace(known, last_words=cause.line)
    sentence = f"{event}: {cause.sentence}"
    if cause.remedy is None:
        sentence += f"; see {log_path}"
    kind = EngineOutOfMemory if cause.out_of_memory else EngineError
    return kind(sentence, log_tail=tail(text), facts=known)


def why(lines: Iterable[str]) -> Cause:
    """The cause of the end of an engine that has logged `lines`."""
    start, log = last_start(lines)
    return cause_of(log, start)


def cause_of(log: Sequence[LogEntry], start: StartLog) -> Cause:
    """The cause of the end of an engine with this log, whose last start `start` is."""
    ended = ending(log)
    killed = next((entry for entry in reversed(log) if KILLED.fullmatch(entry.text)), None)
    vanished = any(VANISHED.search(entry.text) for entry in log)
    died = any(DIED.search(entry.text) for entry in log)
    if ended is not None and not (CONSEQUENCE.search(ended.text) and (killed or died)):
        return _explained(ended, log, start)
    if killed is not None:
        return Cause(*KILLED_BY_KERNEL, line=killed.text[:MOST_OF_A_LINE])
    if any(BUS_ERROR.fullmatch(entry.text) for entry in log):
        return Cause(Phrase(CRASHED_ON_THE_BUS), Phrase(SHARED_MEMORY[1]))
    crash = next((match for entry in log if (match := CRASHED.match(entry.text))), None)
    if crash is not None:
        return Cause(Phrase(PROCESS_CRASHED, (crash[1][:300],)))
    return _by_code(log) or Cause(PROCESS_VANISHED if vanished else NO_REASON)


def _by_code(log: Sequence[LogEntry]) -> Cause | None:
    """The cause by the code with which an engine core ended, where the log has one."""
    codes = [match for entry in log if (match := ENDED_WITH.search(entry.text))]
    if not codes:
        return None
    code = int(codes[-1][1])
    if code == -signal.SIGKILL:
        return Cause(*KILLED_BY_KERNEL)
    if code < 0:
        return Cause(Phrase(PROCESS_CRASHED, (f"signal {-code}",)))
    return Cause(Phrase(ENDED_BY_ITSELF, (str(code),)))


# ---- the exception that ended it ---------------------------------------------------------------


def ending(log: Sequence[LogEntry], *, outlived: bool = True) -> Raised | None:
    """The exception that ended the engine: of the last ones of each process, the first in time. An
    exception that its process outlived, or that follows from the end of another process, counts
    only where there is no other, and without `outlived` the former not at all; one that only
    reports that another process failed does not count."""
    all_raised = _raised(log, RAISED) or _raised(log, WITHIN)
    raised = [one for one in all_raised if not WRAPPER.search(one.text)]
    if not raised:
        quoted = [(i, m) for i, e in enumerate(log) if (m := QUOTED.search(e.text))]
        return Raised("", (quoted[-1][1][1],), quoted[-1][0]) if quoted else None
    fatal = [one for one in raised if not CONSEQUENCE.search(one.text)]
    candidates = [_not_outlived(fatal, log), _not_outlived(raised, log)]
    if outlived:
        candidates += [fatal, raised[-1:]]
    for some in candidates:
        last = {one.process: one for one in some}
        if last:
            return min(last.values(), key=lambda one: one.index)
    return None


def _raised(log: Sequence[LogEntry], form: re.Pattern[str]) -> list[Raised]:
    """All exceptions of a log whose first lines have this form, except those that are only
    warnings."""
    exceptions: list[Raised] = []
    linked: dict[str, bool] = {}  # whether the last exception of a process is the cause of the next
    index = 0
    while index < len(log):
        entry = log[index]
        if CHAINED.search(entry.text):
            linked[entry.process] = True
        elif _is_raised(entry, form) and entry.level in ("", "ERROR", "CRITICAL"):
            lines = _message(log, index)
            last = next((e for e in reversed(exceptions) if e.process == entry.process), None)
            cause = last if linked.pop(entry.process, False) else None
            exceptions.append(Raised(entry.process, lines, index, cause))
            index += len(lines) - 1
        index += 1
    return exceptions


def _is_raised(entry: LogEntry, form: re.Pattern[str]) -> bool:
    if KILLED.fullmatch(entry.text):
        return False
    return bool(form.fullmatch(entry.text) or REFUSED.fullmatch(entry.text))


def _message(log: Sequence[LogEntry], index: int) -> tuple[str, ...]:
    """The line at `index` and those after it that belong to the same message."""
    first, lines = log[index], [log[index].text.strip()[:MOST_OF_A_MESSAGE_LINE]]
    for entry in log[index + 1 : index + MOST_OF_A_MESSAGE]:
        same = (entry.process, entry.level, entry.place) == (
            first.process,
            first.level,
            first.place,
        )
        ends = TRACEBACK.search(entry.text) or CHAINED.search(entry.text)
        raised = RAISED.fullmatch(entry.text)
        plain = entry.level == "" and entry.process in ("", first.outer)
        if not (same or plain) or ends or raised:
            break
        if NOISE.search(entry.text) or KILLED.fullmatch(entry.text):
            break
        lines.append(entry.text.strip()[:MOST_OF_A_MESSAGE_LINE])
    return tuple(lines)


def _not_outlived(raised: Sequence[Raised], log: Sequence[LogEntry]) -> list[Raised]:
    """The exceptions after which their process did not go on with its start."""
    return [one for one in raised if not _outlived(one, log)]


def _outlived(raised: Raised, log: Sequence[LogEntry]) -> bool:
    later = log[raised.index + len(raised.lines) :]
    if raised.process:
        mine = (entry for entry in later if entry.process == raised.process)
        return any(entry.level == "INFO" and not ENDING.search(entry.text) for entry in mine)
    return any(pattern.search(entry.text) for entry in later for pattern, _ in PHASES)


# ---- its explanation ---------------------------------------------------------------------------


def _explained(ended: Raised, log: Sequence[LogEntry], start: StartLog) -> Cause:
    """The known cause of an exception, or of one that it was raised from; else its own words."""
    for raised in ended.chain():
        before = _before(raised, log)
        for known in CAUSES:
            cause = _match(known, raised, before, start)
            if cause is not None:
                return cause
    first = list(ended.chain())[-1]
    own = _own_words(ended, log)
    if first is not ended and first.lines[0] not in own:
        own += f", from {_short(first.lines[0])}"
    return Cause(Phrase(OWN_WORDS, (own,)))


def _before(raised: Raised, log: Sequence[LogEntry]) -> list[str]:
    """The lines that may give the reason: those of the exception, then those before it of its
    process or of a library, newest first."""
    earlier = [
        entry.text.strip()
        for entry in reversed(log[: raised.index])
        if entry.process in (raised.process, "") or entry.level == ""
    ]
    return [*raised.lines, *earlier[:MOST_BEFORE]]


def _match(known: Known, raised: Raised, before: Sequence[str], start: StartLog) -> Cause | None:
    match = known.pattern.search(raised.text)
    if match is None:
        return None
    line = raised.text.count("\n", 0, match.start())
    words = raised.text.split("\n")[line]
    if known.before is not None:
        matches = ((line, m) for line in before if (m := known.before.search(line)))
        words, match = next(matches, ("", None))
        if match is None:
            return None
    groups = tuple(group for group in match.groups() if group is not None)
    cause, advice = Phrase(known.cause, groups), _advice(known, groups, start)
    return Cause(cause, advice, known.out_of_memory, words[:MOST_OF_A_LINE])


def _advice(known: Known, groups: tuple[str, ...], start: StartLog) -> Phrase:
    """The remedy with the values that the log's own figures give, where they give them."""
    for reckoned in known.reckoned:
        values = reckoned.values(groups, start)
        if values is not None:
            return Phrase(reckoned.remedy, tuple(values))
    return Phrase(known.remedy, groups)


def _own_words(ended: Raised, log: Sequence[LogEntry]) -> str:
    words = _short(ended.lines[0])
    if words.endswith(":"):  # its message begins on a line of its own
        words = _one_line(" ".join((words, *ended.lines[1:])))[:300]
    if ": " in words:
        return words
    earlier = (entry.text.strip() for entry in reversed(log[: ended.index]))
    source = next((line for line in earlier if line.strip("^~ ")), "")
    return f"{words} at {source[:200]}" if source and not TRACEBACK.search(source) else words


def _short(line: str) -> str:
    """The line of an exception without the modules in its name."""
    match = RAISED.fullmatch(line)
    name = (match[1] or match[3] or "") if match else ""
    short = name.rpartition(".")[2] or name
    return _one_line(line.replace(name, short, 1) if name else line)[:300]


def _one_line(text: str) -> str:
    return " ".join(text.split())
