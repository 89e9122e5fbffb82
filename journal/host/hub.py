"""A model on the Hugging Face hub: its config.json and the headers of its safetensors files, some
kilobytes by HTTP range, nothing else.

`HF_ENDPOINT` names a mirror, `HF_TOKEN` (or the token that huggingface_hub keeps) opens gated
models, `HF_HUB_OFFLINE` forbids asking. Each answer is bounded in bytes and time, which those that
huggingface_hub reads are not.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request

from journal.errors import JournalError, NotFound, SpecError
from journal.measure.bounded_http import Unbounded, opener, parsed_json
from journal.redaction import remember, shown_url
from journal.theory.checkpoint import HEADER_LIMIT, INDEX, Tensor, files_of_index, tensors_of

ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 10.0
ANSWER_S = 120.0  # for a file, however slowly it comes
FIRST_BYTES = 100_000  # of a file: the header of most is shorter
ONE_FILE = "model.safetensors"
GATED = (401, 403)


@dataclass(frozen=True, slots=True)
class HubModel:
    """The config of a model and the tensors of its checkpoint; None where it has no safetensors."""

    config: Mapping[str, Any]
    tensors: tuple[Tensor, ...] | None


def hub_endpoint() -> str:
    """The address of the hub, or of its mirror."""
    return (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")


def shown_endpoint() -> str:
    """The address of the hub as it may be shown, without a password in it."""
    return shown_url(hub_endpoint())


def hub_is_off() -> bool:
    """Whether HF_HUB_OFFLINE forbids asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def ask_hub(name: str, revision: str = "main") -> HubModel:
    """The model `name` by the hub. Raises NotFound where the hub has no such model or no config of
    it, SpecError where it does not answer or wants a token, each with what to do."""
    try:
        config = _config(get_file(name, revision, "config.json"))
        return HubModel(config, _tensors_on_hub(name, revision))
    except HTTPError as error:
        raise refusal(name, error.code) from error
    except (URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise SpecError(
            f"{shown_endpoint()} does not answer ({reason}): give the folder of {name}, or set"
            " HF_ENDPOINT to a mirror that does"
        ) from error
    except (ValueError, Unbounded) as error:
        raise SpecError(f"{shown_endpoint()} gave no readable files of {name} ({error})") from error


def refusal(name: str, status: int) -> JournalError:
    """The error to raise where the hub answers a request for `name` with that HTTP status."""
    where = shown_endpoint()
    if status in GATED:
        if _token() is not None:
            return SpecError(
                f"{where} shows {name} to no holder of this HF_TOKEN (HTTP {status}): check the"
                " name, or ask for access on its page"
            )
        return SpecError(
            f"{where} shows {name} to its members only, or has no such model (HTTP {status}): set"
            " HF_TOKEN, or check the name"
        )
    if status == 404:
        return NotFound(f"{where} has no model {name} with a config.json: check the name")
    return SpecError(f"{where} answered HTTP {status} for {name}: try again later")


def _token() -> str | None:
    token = os.environ.get("HF_TOKEN")
    if token or find_spec("huggingface_hub") is None:
        return token or None
    from huggingface_hub import get_token

    kept = get_token()
    remember(kept)  # it stands in a file, not in the environment
    return kept


def _tensors_on_hub(name: str, revision: str) -> tuple[Tensor, ...] | None:
    """The tensors of the model's safetensors files; None where it has none."""
    try:
        names = files_of_index(get_file(name, revision, INDEX))
    except HTTPError as error:
        if error.code != 404:
            raise
        names = [ONE_FILE]
    try:
        return tuple(tensor for file in names for tensor in _header(name, revision, file))
    except HTTPError as error:
        if error.code != 404:
            raise
        return None


def _config(raw: bytes) -> dict[str, Any]:
    config = parsed_json(raw)
    if not isinstance(config, dict):
        raise ValueError("config.json is no object")
    return config


def _header(name: str, revision: str, file: str) -> Iterator[Tensor]:
    """The tensors of one file by its header: the length of that is in the first eight bytes."""
    raw = get_file(name, revision, file, FIRST_BYTES)
    length = int.from_bytes(raw[:8], "little")
    if not 0 < length <= HEADER_LIMIT:
        raise ValueError(f"{file} has no safetensors header")
    if len(raw) < 8 + length:
        raw = get_file(name, revision, file, 8 + length)
    header = parsed_json(raw[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError(f"the header of {file} is no object")
    return tensors_of(header, file)


def get_files(name: str) -> list[str]:
    """The names of the files of the model. Raises URLError and ValueError as `get_file` does."""
    answer = parsed_json(_get(f"{hub_endpoint()}/api/models/{quote(name)}", None))
    files = answer.get("siblings") if isinstance(answer, dict) else None
    if not isinstance(files, list):
        raise ValueError("it lists no files")
    return [str(one.get("rfilename")) for one in files if isinstance(one, dict)]


def get_file(name: str, revision: str, file: str, count: int | None = None) -> bytes:
    """A file of the model, or its first `count` bytes. Raises URLError where the hub does not
    answer, HTTPError where it refuses."""
    return _get(f"{hub_endpoint()}/{quote(name)}/resolve/{quote(revision)}/{quote(file)}", count)


def _get(url: str, count: int | None) -> bytes:
    request = Request(url)
    token = _token()
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if count is not None:
        request.add_header("Range", f"bytes=0-{count - 1}")
    web = opener(ANSWER_S, HEADER_LIMIT + FIRST_BYTES, _Redirects())
    with web.open(request, timeout=TIMEOUT_S) as answer:
        body: bytes = answer.read() if count is None else answer.read(count)
    return body


class _Redirects(HTTPRedirectHandler):
    """Redirects, as to the hub's file stores, on which the token is not sent to another host."""

    def redirect_request(self, req: Request, *args: Any) -> Request | None:
        """The request to follow, without the token where it goes to another host; None for another
        scheme than http."""
        new = super().redirect_request(req, *args)
        if new is not None and urlsplit(new.full_url).scheme not in ("http", "https"):
            return None
        if new is not None and urlsplit(new.full_url).netloc != urlsplit(req.full_url).netloc:
            new.remove_header("Authorization")
        return new
