"""Types of the KV cache, and the bytes of a token in each. A type that is not in the table is not
known: nothing is computed from another's size."""

from collections.abc import Mapping
from dataclasses import dataclass

from journal.theory.layers import Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class KvType:
    """A type of the KV cache: bytes of an element, and of the scales beside each vector of a head.
    `latent_bytes` maps a number of latent values to the bytes of a token where a layout of MLA has
    its own; a type with such a layout is for MLA only."""

    name: str
    element_bytes: float
    vector_bytes: int = 0
    latent_bytes: Mapping[int, int] | None = None


# vLLM's names (config/cache.py, CacheDType). Of fp8_ds_mla a token is 512 values in fp8 with four
# scales of 32 bits and 64 values in 16 bits; the per_token_head types keep a scale of 32 bits
# beside each vector, nvfp4 one of 8 bits for each 16 values.
KV_TYPES: Mapping[str, KvType] = {
    kind.name: kind
    for kind in (
        KvType(name="float32", element_bytes=4),
        *(KvType(name=name, element_bytes=2) for name in ("float16", "bfloat16", "half")),
        *(
            KvType(name=name, element_bytes=1)
            for name in ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "int8")
        ),
        KvType(name="fp8_ds_mla", element_bytes=1, latent_bytes={576: 656}),
        KvType(name="nvfp4_ds_mla", element_bytes=0.5, latent_bytes={576: 352}),
        *(KvType(name=name, element_bytes=0.5 + 1 / 16) for name in ("nvfp4", "nvfp4_4over6")),
        KvType(name="int4_per_token_head", element_bytes=0.5, vector_bytes=4),
        KvType(name="int8_per_token_head", element_bytes=1, vector_bytes=4),
        KvType(name="fp8_per_token_head", element_bytes=1, vector_bytes=4),
    )
}
Kv = KvType | float


def kv_type(name: str | None, model_bytes: float = 2) -> Kv | None:
    """The type of that `name`; `auto` or None is the model's own, with elements of `model_bytes`.
    None for a type that is not known here."""
    if name is None or name == "auto":
        return model_bytes
    return KV_TYPES.get(name.removeprefix("torch."))


def cached_bytes(cache: Cache, kv: Kv) -> float | None:
    """Bytes of one token in the cache of one layer; None where that type has no layout for it."""
    if cache.fixed_bytes is not None:
        return cache.fixed_bytes
    if not isinstance(kv, KvType):
        return cache.heads * cache.head_values * kv
    if kv.latent_bytes is not None:
        return kv.latent_bytes.get(cache.head_values) if cache.kind == "latent" else None
    scales = cache.vectors * kv.vector_bytes
    return cache.heads * (cache.head_values * kv.element_bytes + scales)
