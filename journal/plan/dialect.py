"""Request bodies in the dialect of a server: its names for fields, and the user's own fields."""

from collections.abc import Collection, Mapping
from typing import Any

from journal.errors import SpecError

FIXED = ("model", "prompt", "messages", "stream")  # set by the program or by other options

# Fields that a server refuses, each with the name that it takes instead; None: left out. A field of
# an object stands below it, as in "stream_options.include_usage".
Refused = Mapping[str, str | None]


def in_dialect(
    fields: Mapping[str, Any], refused: Refused, own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`fields` of a request without those that are `refused`, or under their other names, and with
    the user's `own` over them; None among these leaves a field out."""
    body = {
        name: dict(value) if isinstance(value, dict) else value for name, value in fields.items()
    }
    for name, other in refused.items():
        whole, _, part = name.partition(".")
        if part:
            if isinstance(body.get(whole), dict):
                body[whole].pop(part, None)
                if not body[whole]:
                    del body[whole]
        elif whole in body:
            value = body.pop(whole)
            if other is not None:
                body[other] = value
    for name, value in (own or {}).items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    return body


def check_own(own: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Refuse (SpecError) fields of the user that the program sets itself, but those that are
    `free`: a variant may name an adapter as the model."""
    for name in own:
        if name in FIXED and name not in free:
            raise SpecError(
                f"the field {name!r} of a request is not free: the prompts and the streaming are "
                "the program's, and --model names the model"
            )
