"""Predictions for a served model: bytes of weights and KV cache, floors of latency."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from journal.errors import SpecError
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.serve.engines.vllm.defaults import SAME_PACKING
from journal.theory.architecture import Architecture, architecture
from journal.theory.gpu_table import GpuKind, find_gpu
from journal.theory.kv_types import Kv, kv_type
from journal.theory.memory import DTYPE_BYTES, kv_bytes, kv_bytes_per_token, weight_bytes
from journal.theory.parallelism import pieces
from journal.theory.roofline import Bound, Floor, decode_floor, prefill_floor

SIXTEEN_BITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model on `gpu_count` GPUs (or, on the CPU, in as many processes) that share it evenly:
    each layer is cut over `tensor_parallel` of them, and the layers are dealt out in stages where
    there are more. `precision` is one of BYTES_PER_WEIGHT or the packing of the checkpoint, `kv`
    the type of the KV cache or the bytes of its elements; they are None where not known, and
    so is the kind of `gpu`."""

    model: Architecture
    precision: str | None
    kv: Kv | None
    gpu_count: int = 1
    tensor_parallel: int = 1
    gpu: GpuKind | None = None

    @property
    def kv_bytes_per_token(self) -> int | None:
        """Bytes of KV cache for one token, all GPUs together, while all layers keep it; None where
        the type of the cache is not known. GPUs of a stage that outnumber the KV heads hold copies
        of them, and with MLA each holds the whole.

        Source: Shoeybi et al. 2019, "Megatron-LM" (heads are split); vLLM copies heads to the
        GPUs that are left over.
        """
        heads = 1 if self.model.latent is not None else self.model.kv_heads
        copies = max(1, self.tensor_parallel / heads)
        token = self._known(kv_bytes_per_token)
        return None if token is None else round(token * copies)

    def sequence_bytes_of_a_gpu(self, tokens: int) -> int | None:
        """Bytes that a sequence of `tokens` keeps on one GPU of the stage that keeps most; None
        where the type of the cache is not known."""
        return self._known(lambda cache, kv: kv_bytes(cache, tokens, kv), of_a_gpu=True)

    @property
    def kv_bytes_per_token_of_a_gpu(self) -> int | None:
        """Bytes of KV cache for one token on one GPU of the stage with the most layers; None where
        the type of the cache is not known."""
        return self._known(kv_bytes_per_token, of_a_gpu=True)

    def _known(
        self, size: Callable[[Architecture, Kv], int], *, of_a_gpu: bool = False
    ) -> int | None:
        if self.kv is None:
            return None
        stages = self.gpu_count // self.tensor_parallel
        cut = pieces(self.model, self.tensor_parallel, stages) if of_a_gpu else ()
        try:
            return max((size(piece.cache, self.kv) for piece in cut), default=None) or size(
                self.model, self.kv
            )
        except SpecError:  # a type without a layout for these layers
            return None

    @property
    def weights_bytes(self) -> int | None:
        """Bytes of the weights, all GPUs together; None where they cannot be counted."""
        if self.precision is None:
            return None
        try:
            return weight_bytes(self.model, self.precision)
        except SpecError:
            return None

    def ttft_floor_s(self, prompt_tokens: int) -> float | None:
        """The least TTFT in s of a prompt of `prompt_tokens` that is read alone; None where the
        kind of GPU or the size of the weights is not known. GPUs that share a model are taken to
        lose nothing by it."""
        if self.gpu is None or self.precision is None or self.weights_bytes is None:
            return None
        floor = prefill_floor(
            self.model, self.gpu, prompt_tokens=prompt_tokens, precision=self.precision
        )
        return floor.seconds / self.gpu_count

    def tpot_floor_s(self, batch: int, context: int) -> float | None:
        """The least TPOT in s while `batch` sequences of `context` tokens are in flight; None
        where the kind of GPU or the size of the weights is not known. A token passes the stages
        one after the other; each stage works on its own share of the batch meanwhile."""
        floor = self._decode(batch, context)
        return None if floor is None else floor.seconds / self.tensor_parallel

    def decode_bound(self, batch: int, context: int) -> Bound | None:
        """The side of the roofline that sets `tpot_floor_s`; None where there is no such floor."""
        floor = self._decode(batch, context)
        return None if floor is None else floor.bound

    def _decode(self, batch: int, context: int) -> Floor | None:
        if self.gpu is None or self.precision is None or self.weights_bytes is None:
            return None
        if self.kv_bytes_per_token is None or self.kv is None:
            return None
        stages = self.gpu_count // self.tensor_parallel
        return decode_floor(
            self.model,
            self.gpu,
            batch=ceil(batch / stages),
            context=context,
            precision=self.precision,
            kv_element_bytes=self.kv,
        )


def served_model(
    facts: EngineFacts, engine: Engine | None, gpu_count: int = 1
) -> ServedModel | None:
    """The model of `facts` as `engine` serves it on `gpu_count` GPUs; `engine` is None for an
    attached server. None where the model's config is not known or names no sizes."""
    if facts.config is None:
        return None
    try:
        model = architecture(facts.config)
    except SpecError:
        return None
    element_bytes = _element_bytes(facts, engine)
    return ServedModel(
        model=model,
        precision=_precision(facts, engine, model, element_bytes),
        kv=kv_type(facts.kv_cache_dtype, element_bytes),
        gpu_count=gpu_count,
        tensor_parallel=gpu_count if engine is None else engine.tensor_parallel,
        gpu=_gpu_kind(facts),
    )


def _element_bytes(facts: EngineFacts, engine: Engine | None) -> int:
    """Bytes of an element that is not packed: by the dtype that the engine logged, else by the one
    in its setup, else 2, to which an engine converts 32-bit checkpoints too."""
    configured = "auto" if engine is None else engine.dtype
    return DTYPE_BYTES.get(configured if facts.dtype is None else facts.dtype, SIXTEEN_BITS)


def _precision(
    facts: EngineFacts, engine: Engine | None, model: Architecture, element_bytes: int
) -> str | None:
    """The precision of the weights in memory: the packing of the checkpoint, else that of the
    engine. None for an attached server that states no dtype, which may have packed them."""
    configured = engine.quantisation if engine is not None else None
    packed = model.quantisation or facts.quantisation or configured
    if packed is None and engine is None and facts.dtype is None:
        return None
    if packed is None:
        return "fp32" if element_bytes == 4 else "fp16"
    return SAME_PACKING.get(packed, packed)


def _gpu_kind(facts: EngineFacts) -> GpuKind | None:
    """The kind of GPU by the rates that the experiment gives, else by its name in the table."""
    rates = facts.card_rates
    if rates is not None:
        return GpuKind(
            name=facts.card or "",
            memory_bytes=0,
            bandwidth=rates.bandwidth_gb_per_s * 1e9,
            fp16_flops=rates.fp16_tflops * 1e12,
            fp8_flops=None if rates.fp8_tflops is None else rates.fp8_tflops * 1e12,
            source="the experiment",
        )
    try:
        return None if facts.card is None else find_gpu(facts.card)
    except SpecError:
        return None
