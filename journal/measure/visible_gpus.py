"""The GPUs that a process sees: CUDA_VISIBLE_DEVICES, read as CUDA reads it and resolved by NVML.

A whole GPU is named by its NVML index, an instance of MIG by its UUID. NVML sorts indices by bus,
CUDA by speed unless CUDA_DEVICE_ORDER=PCI_BUS_ID: an engine that the journal starts has that
variable set. Where GPUs differ and it is not set, name UUIDs.
Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pynvml

from journal.doubts.words import absence
from journal.errors import SpecError
from journal.measure.nvml import LOST, UNKNOWN, absence_values, session
from journal.records.doubt import Values
from journal.records.engine import VISIBLE_GPUS, GpuName

GPU, MIG = "GPU-", "MIG-"  # the beginnings of UUIDs


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """The `gpus` that a process sees, in CUDA's order. `unusable` are the others, which the driver
    does not open (a lost GPU, for example): by NVML index the values of a doubt "absent"."""

    gpus: tuple[GpuName, ...] = ()
    unusable: Mapping[int, Values] = field(default_factory=dict)


def setting_entries(setting: str | None) -> tuple[GpuName, ...] | None:
    """The entries of a value of CUDA_VISIBLE_DEVICES that count: indices, UUIDs, or beginnings of
    UUIDs; None where it is not set and all GPUs are visible.

    As in CUDA, the list ends at the first entry of another form: -1, or a word such as Slurm's
    NoDevFiles.
    """
    if setting is None:
        return None
    names: list[GpuName] = []
    for entry in map(str.strip, setting.split(",")):
        if entry.isascii() and entry.isdigit():
            names.append(int(entry))
        elif entry.startswith((GPU, MIG)):
            names.append(entry)
        else:
            break
    return tuple(names)


def visible_gpus(env: Mapping[str, str]) -> Visible:
    """The GPUs that CUDA shows to a process with the variables `env`. Raises MeasureError where
    the driver does not answer, SpecError where CUDA_VISIBLE_DEVICES names a GPU that is not
    here."""
    with session():
        return resolve(env.get(VISIBLE_GPUS))


def resolve(setting: str | None) -> Visible:
    """The GPUs that CUDA shows for a value of CUDA_VISIBLE_DEVICES, while NVML is open. As in CUDA,
    the list ends before an index that no GPU has. Raises SpecError where such an index is the
    first entry, or where an entry names no GPU of this host; NVMLError."""
    host, names = _Host.read(), setting_entries(setting)
    if names is None:
        return Visible(gpus=tuple(host.uuids), unusable=host.unusable)
    if host.count == 0:
        return Visible()
    here = [type(name) is str or int(name) < host.count for name in names]
    if False in here[1:]:
        names = names[: here.index(False, 1)]
    try:
        gpus = tuple(host.usable(name) for name in names)
        if len(set(gpus)) < len(gpus):
            raise SpecError("it names a GPU twice, and CUDA then shows none")
    except SpecError as error:
        raise SpecError(f"{VISIBLE_GPUS} is {setting!r}: {error}") from None
    return Visible(gpus=gpus)


def find_gpus(names: Sequence[GpuName]) -> tuple[GpuName, ...]:
    """The name of the GPU for each of `names`, which may be beginnings of UUIDs, while NVML is
    open. Raises SpecError for a name that no GPU here has; NVMLError."""
    host = _Host.read()
    return tuple(host.find(name) for name in names)


def opened(name: GpuName) -> tuple[Any, int]:
    """NVML's handle of a GPU or instance, and the index of its GPU. Raises NVMLError where the
    driver does not open it."""
    if isinstance(name, int):
        return pynvml.nvmlDeviceGetHandleByIndex(name), name
    handle = pynvml.nvmlDeviceGetHandleByUUID(name)
    whole = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    return handle, pynvml.nvmlDeviceGetIndex(whole)


@dataclass(frozen=True, slots=True)
class _Host:
    """The `count` GPUs of this host: the UUIDs (None: not known) of those that the driver opens,
    and the reasons, as values of a doubt "absent", for the others; both by NVML index."""

    count: int
    uuids: dict[int, str | None]
    unusable: dict[int, Values]

    @classmethod
    def read(cls) -> "_Host":
        """The GPUs as NVML gives them. Raises NVMLError where the driver opens none of them."""
        host = cls(pynvml.nvmlDeviceGetCount(), {}, {})
        first: pynvml.NVMLError | None = None
        for index in range(host.count):
            try:
                host.uuids[index] = _uuid(pynvml.nvmlDeviceGetHandleByIndex(index))
            except pynvml.NVMLError as error:
                host.unusable[index] = absence_values(error)
                first = first or error
        if first is not None and not host.uuids:
            raise first
        return host

    def find(self, name: GpuName) -> GpuName:
        """The index of a GPU, or the whole UUID of an instance. Raises SpecError for a name that
        is not here."""
        if isinstance(name, int):
            if name >= self.count:
                raise SpecError(f"there is no GPU {name} here: NVML sees {self.count}")
            return name
        if name.startswith(MIG):
            instances = tuple(self._instances())
            return name if name in instances or _is_instance(name) else _only(name, instances)
        whole = {uuid: index for index, uuid in self.uuids.items() if uuid is not None}
        return whole[_only(name, tuple(whole))]

    def usable(self, name: GpuName) -> GpuName:
        """The GPU that `find` gives. Raises SpecError where the driver does not open it."""
        gpu = self.find(name)
        if gpu in self.unusable:
            why = absence(self.unusable[int(gpu)]).rstrip(".")
            raise SpecError(f"GPU {gpu} cannot be used: {why}")
        return gpu

    def _instances(self) -> Iterator[str]:
        """The UUIDs of all instances of MIG."""
        for index in self.uuids:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            for number in range(_most_instances(handle)):
                try:
                    instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
                    uuid = _uuid(instance)
                except pynvml.NVMLError:  # fewer instances than the largest number
                    continue
                if uuid is not None:
                    yield uuid


def _only(name: str, uuids: Sequence[str]) -> str:
    """The UUID among `uuids` that begins with `name`. Raises SpecError for none or several."""
    matches = [uuid for uuid in uuids if uuid.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    kind = "MIG instance" if name.startswith(MIG) else "GPU"
    if matches:
        raise SpecError(f"{name} is the beginning of {len(matches)} UUIDs: write more of it")
    raise SpecError(f"no {kind} here has the UUID {name}: list the UUIDs with nvidia-smi -L")


def _uuid(handle: Any) -> str | None:
    """The UUID of a GPU or instance; None where NVML does not give it. Raises NVMLError for a lost
    GPU."""
    try:
        uuid: str = pynvml.nvmlDeviceGetUUID(handle)
        return uuid
    except pynvml.NVMLError as error:
        if error.value in LOST:
            raise
        return None


def _is_instance(uuid: str) -> bool:
    """Whether the driver knows an instance of MIG by `uuid`, even if it does not list it."""
    try:
        pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError as error:
        if error.value in UNKNOWN:
            return False
        raise
    return True


def _most_instances(handle: Any) -> int:
    try:
        most: int = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
        return most
    except pynvml.NVMLError:
        return 0
