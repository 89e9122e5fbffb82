"""The phases of a start of vLLM in s, by the durations that its log gives."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from journal.records.engine import StartPhases
from journal.serve.engines.vllm.log_entries import LogEntry

_S = r"([\d.]{1,15})"
# A duration and the wordings that give it.
DURATIONS: Mapping[str, tuple[re.Pattern[str], ...]] = {
    name: tuple(re.compile(wording) for wording in wordings)
    for name, wordings in {
        "download": (rf"Time spent downloading weights for .*: {_S} seconds",),
        # Of one process it contains the next two.
        "load": (
            rf"(?:Model loading took|Loading model weights took) .*\band {_S} seconds",
            rf"Loading weights took {_S} seconds",
        ),
        # Together they are what "in total" gives.
        "compile_part": (
            rf"Dynamo bytecode transform time: {_S} s",
            rf"Compiling a graph for .* takes {_S} s",
            rf"Directly load the compiled graph.* took {_S} s",
        ),
        "compile": (rf"torch\.compile (?:takes|took|and .* together took) {_S} s in total",),
        "graphs": (rf"Graph capturing finished in {_S} secs?",),
        "init": (rf"init engine \(.*\) took {_S} s",),
        "init_compile": (rf"init engine .* took .*\(compilation: {_S} s",),
    }.items()
}
COMPILED_ANEW = re.compile(r"Compiling a graph for|Cache the graph of")
FROM_CACHE = re.compile(r"Directly load the compiled graph|Directly load AOT compilation")


@dataclass(slots=True)
class StartTimes:
    """The durations of one start while its log is read: of each process, by the keys of
    DURATIONS."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    anew: bool = False
    cached: bool = False

    def read(self, entry: LogEntry) -> None:
        """Take the durations of a line."""
        text = entry.text
        self.anew = self.anew or COMPILED_ANEW.search(text) is not None
        self.cached = self.cached or FROM_CACHE.search(text) is not None
        for name, wordings in DURATIONS.items():
            for wording in wordings:
                if match := wording.search(text):
                    self._take((name, entry.process), match[1])
                    break

    def _take(self, key: tuple[str, str], raw: str) -> None:
        try:
            value = float(raw)
        except ValueError:
            return
        before = self.seconds.get(key, 0.0)
        self.seconds[key] = before + value if key[0] == "compile_part" else max(before, value)

    def _longest(self, name: str) -> float | None:
        """The duration of the process that took longest."""
        return max((s for (key, _), s in self.seconds.items() if key == name), default=None)

    def _compile_s(self) -> float | None:
        known = (self._longest(name) for name in ("compile", "init_compile", "compile_part"))
        return next((value for value in known if value is not None), None)

    def _kind(self) -> Literal["cold", "warm"] | None:
        if self.anew or self._longest("download") is not None:
            return "cold"
        over = self.cached or self._longest("init") is not None
        return "warm" if over else None

    def phases(self) -> StartPhases | None:
        """The phases of the start; None where the log gives none."""
        download_s = self._longest("download")
        load_s = self._longest("load")
        if load_s is not None and download_s is not None and load_s > download_s:
            load_s -= download_s
        phases = StartPhases(
            kind=self._kind(),
            download_s=download_s,
            load_s=load_s,
            compile_s=self._compile_s(),
            graphs_s=self._longest("graphs"),
            init_s=self._longest("init"),
        )
        return None if phases == StartPhases() else phases
