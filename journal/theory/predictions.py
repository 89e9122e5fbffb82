"""What arithmetic says of a model as an engine serves it, to stand beside what was measured."""

from dataclasses import dataclass
from math import ceil

from journal.errors import SpecError
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.serve.engines.vllm.defaults import SAME_PACKING
from journal.theory.architecture import Architecture, architecture
from journal.theory.gpu_table import Card, find_card
from journal.theory.memory import DTYPE_BYTES, kv_bytes_per_token, weight_bytes
from journal.theory.parallelism import pieces
from journal.theory.roofline import Bound, Floor, decode_floor, prefill_floor

SIXTEEN_BITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model on `cards` cards (or, on the CPU, in as many processes) that share it evenly:
    `tensor_parallel` of them each layer, in stages where there are more.
    `precision` is one of BYTES_PER_WEIGHT or how the checkpoint is packed, None where that is not
    known; so is the kind of `card`."""

    model: Architecture
    precision: str | None
    kv_element_bytes: int
    cards: int = 1
    tensor_parallel: int = 1
    card: Card | None = None

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of KV cache for one token, all cards together. Cards of a stage that outnumber the
        KV heads hold copies of them, and with MLA each holds the whole.

        Source: Shoeybi et al. 2019, "Megatron-LM" (heads are split); vLLM copies what is left.
        """
        heads = 1 if self.model.latent is not None else self.model.kv_heads
        copies = max(1, self.tensor_parallel / heads)
        return round(kv_bytes_per_token(self.model, self.kv_element_bytes) * copies)

    @property
    def kv_bytes_per_token_of_a_card(self) -> int:
        """Bytes of KV cache for one token on one card, that of the stage with the most layers."""
        stages = self.cards // self.tensor_parallel
        cut = pieces(self.model, self.tensor_parallel, stages)
        return max(kv_bytes_per_token(each.cache, self.kv_element_bytes) for each in cut)

    @property
    def weights_bytes(self) -> int | None:
        """Bytes of the weights, all cards together; None for what cannot be counted."""
        if self.precision is None:
            return None
        try:
            return weight_bytes(self.model, self.precision)
        except SpecError:
            return None

    def ttft_floor_s(self, prompt_tokens: int) -> float | None:
        """No first token can come sooner after a prompt of so many tokens, read alone; None
        without a known card. Cards that share a model are taken to lose nothing by it."""
        if self.card is None or self.precision is None or self.weights_bytes is None:
            return None
        floor = prefill_floor(
            self.model, self.card, prompt_tokens=prompt_tokens, precision=self.precision
        )
        return floor.seconds / self.cards

    def tpot_floor_s(self, batch: int, context: int) -> float | None:
        """No token can follow another sooner while `batch` sequences of `context` are written;
        None as above. A token passes the stages one after the other, each with its share of the
        batch, and another's while the next stage has this one."""
        floor = self._decode(batch, context)
        return None if floor is None else floor.seconds / self.tensor_parallel

    def decode_bound(self, batch: int, context: int) -> Bound | None:
        """Which side of the roofline sets that floor; None as above."""
        floor = self._decode(batch, context)
        return None if floor is None else floor.bound

    def _decode(self, batch: int, context: int) -> Floor | None:
        if self.card is None or self.precision is None or self.weights_bytes is None:
            return None
        stages = self.cards // self.tensor_parallel
        return decode_floor(
            self.model,
            self.card,
            batch=ceil(batch / stages),
            context=context,
            precision=self.precision,
            kv_element_bytes=self.kv_element_bytes,
        )


def served(facts: EngineFacts, engine: Engine | None, cards: int = 1) -> Served | None:
    """The model that `facts` tell of, as `engine` (None: a server of someone else's) was asked to
    serve it on `cards` cards. None where its config is not known or names no sizes."""
    if facts.config is None:
        return None
    try:
        model = architecture(facts.config)
    except SpecError:
        return None
    element_bytes = _element_bytes(facts, engine)
    return Served(
        model=model,
        precision=_precision(facts, engine, model, element_bytes),
        kv_element_bytes=_kv_element_bytes(facts.kv_cache_dtype, element_bytes),
        cards=cards,
        tensor_parallel=cards if engine is None else engine.tensor_parallel,
        card=_card(facts),
    )


def _element_bytes(facts: EngineFacts, engine: Engine | None) -> int:
    """Of a number that is not packed: as the engine said, was asked, or does by itself, which is
    16 bits also where the checkpoint has 32."""
    asked = "auto" if engine is None else engine.dtype
    return DTYPE_BYTES.get(asked if facts.dtype is None else facts.dtype, SIXTEEN_BITS)


def _precision(
    facts: EngineFacts, engine: Engine | None, model: Architecture, element_bytes: int
) -> str | None:
    """How the weights are held: as the checkpoint is packed, else as the engine packs them. A
    server of someone else's may have packed them in secret."""
    asked = engine.quantisation if engine is not None else None
    packed = model.quantisation or facts.quantisation or asked
    if packed is None and engine is None and facts.dtype is None:
        return None
    if packed is None:
        return "fp32" if element_bytes == 4 else "fp16"
    return SAME_PACKING.get(packed, packed)


def _kv_element_bytes(dtype: str | None, element_bytes: int) -> int:
    if dtype is None or dtype == "auto":
        return element_bytes
    return 1 if dtype.startswith(("fp8", "int8")) else DTYPE_BYTES.get(dtype, element_bytes)


def _card(facts: EngineFacts) -> Card | None:
    """As the experiment gives it, else by its name."""
    rates = facts.card_rates
    if rates is not None:
        return Card(
            name=facts.card or "",
            memory_bytes=0,
            bandwidth=rates.bandwidth_gb_per_s * 1e9,
            fp16_flops=rates.fp16_tflops * 1e12,
            fp8_flops=None if rates.fp8_tflops is None else rates.fp8_tflops * 1e12,
            source="the experiment",
        )
    try:
        return None if facts.card is None else find_card(facts.card)
    except SpecError:
        return None
