"""What the fields of a kind are: for ``centralino KIND fields`` and for the reference, from the models themselves."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from appliance.core.fields import FORMS, RefTo
from appliance.core.model import Part

REQUIRED: Final = "required"


@dataclass(frozen=True, slots=True)
class Row:
    """One field. ``name`` is as one types it; fields of parts have dots in theirs, and ``[]`` after a list's name."""

    name: str
    values: str
    default: str
    help: str


def summary(model: type[Part]) -> str:
    """What a kind is: the first sentence of its description."""
    return (model.__doc__ or "").splitlines()[0].split(". ")[0].removesuffix(".")


def description(model: type[Part]) -> str:
    """All that a kind's description says, as one paragraph per paragraph."""
    paragraphs = (model.__doc__ or "").strip().split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in paragraph.splitlines()) for paragraph in paragraphs)


def fields(model: type[Part], prefix: str = "") -> Iterator[Row]:
    """Every field, those of parts after the field that holds them."""
    for name, info in model.model_fields.items():
        if (name == "id" and not prefix) or (name == "type" and prefix):
            continue  # the type of a part is told where the part is named
        annotation = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        yield Row(prefix + name, values_of(annotation), default_of(info), info.description or "")
        for part, is_list in parts_of(annotation):
            yield from fields(part, f"{prefix}{name}{'[]' if is_list else ''}.")


def default_of(info: FieldInfo) -> str:
    """``required``, or the value of a field that isn't given; empty for none."""
    if info.is_required():
        return REQUIRED
    value = info.default_factory() if info.default_factory else info.default  # type: ignore[call-arg]
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(_plain(item) for item in value)
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if not isinstance(value, Part) else "…"


def parts_of(annotation: Any, *, is_list: bool = False) -> Iterator[tuple[type[Part], bool]]:
    """Parts that a field holds, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation, is_list
        return
    origin = get_origin(annotation)
    for inner in get_args(annotation)[: 1 if origin in (Annotated, tuple) else None] if origin is not Literal else ():
        yield from parts_of(inner, is_list=is_list or origin is tuple)


def values_of(annotation: Any) -> str:
    """What a field takes, in a few words."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *marks = get_args(annotation)
        return _annotated(inner, marks)
    if origin is tuple:
        return f"list of {values_of(get_args(annotation)[0])}"
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        return " or ".join(dict.fromkeys(map(values_of, options)))
    if origin is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(item.value for item in annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return summary_of_part(annotation)
    return {str: "text", int: "number", bool: "true or false", float: "number"}.get(annotation, "value")


def summary_of_part(part: type[Part]) -> str:
    """How a part is named where a field holds it."""
    kind = part.model_fields.get("type")
    if kind is not None and get_origin(kind.annotation) is Literal:
        return f"{{type: {get_args(kind.annotation)[0]}}}"
    return "{…}"


def _annotated(inner: Any, marks: list[Any]) -> str:
    for mark in marks:
        if isinstance(mark, RefTo):
            return " or ".join(mark.kinds) + " id"
        if isinstance(mark, AfterValidator) and mark.func.__name__ in CHECKS:
            return CHECKS[mark.func.__name__]
    text = values_of(inner)
    flat: list[Any] = [item for mark in marks for item in (getattr(mark, "metadata", None) or [mark])]
    least, most = (next((getattr(m, name) for m in flat if hasattr(m, name)), None) for name in ("ge", "le"))
    if least is not None or most is not None:
        text += f" {least if least is not None else '…'}–{most if most is not None else '…'}"
    for mark in flat:
        if isinstance(mark, StringConstraints) and mark.pattern:
            pattern = mark.pattern if isinstance(mark.pattern, str) else mark.pattern.pattern
            return FORMS.get(pattern, f"text like {pattern}" if len(pattern) < 40 else text)
        if text.startswith("list") and (fewest := getattr(mark, "min_length", 0)):
            text += f", at least {fewest}"
    return text


CHECKS: Final = {
    "_address": "IP address",
    "_network": "network (CIDR)",
    "_interface": "IP address with the length of its network",
    "_zone": "time zone",
    "_certificates": "certificates (PEM)",
}
"""Validators of field types, in words."""
