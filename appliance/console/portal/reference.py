"""The API's interactive documentation: every operation with its parameters and fields, to be tried out in place.

Drawn from the API's own description by the server, so it reads without scripts; with them (reference.js) a request is sent as whoever is signed in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from flask import Blueprint, render_template, request

from appliance.console.api.openapi import description
from appliance.console.api.openapi_parts import REF
from appliance.console.api.requests import subject
from appliance.core.errors import NotFoundError
from appliance.kinds import KINDS

Schema = Mapping[str, Any]
DEEPEST: Final = 4
"""Levels of fields within fields that are shown."""
METHODS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """One field or parameter. ``level``: how deep inside others; ``where``: path, query, header, or empty in a body."""

    name: str
    type: str
    required: bool
    about: str
    level: int = 0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as it is shown. ``example``: a body with the fields that it must have."""

    id: str
    method: str
    path: str
    summary: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answer: tuple[Field, ...]
    status: str
    example: str


def reference() -> Blueprint:
    """The pages."""
    pages = Blueprint("reference", __name__)
    pages.get("/reference")(show)
    return pages


def show() -> str:
    """The operations of one group; ``?of=extension``."""
    subject()
    wanted = request.args.get("of", "calls")
    groups = operations_by_group()
    if wanted not in groups:
        raise NotFoundError(f"the API has no operations of {wanted[:40]!r}", "choose from the list")
    kinds = [name for name in groups if name in KINDS]
    others = [name for name in groups if name not in KINDS]
    return render_template("reference/show.html", wanted=wanted, operations=groups[wanted], kinds=kinds, others=others)


@cache
def operations_by_group() -> dict[str, tuple[Operation, ...]]:
    """Group → its operations, in the description's order: kinds, and the first word of every other path."""
    found: dict[str, list[Operation]] = {}
    for path, item in description()["paths"].items():
        parts = path.strip("/").split("/")
        group = parts[1] if parts[0] == "objects" and len(parts) > 1 else parts[0].partition(".")[0]
        for method in METHODS:
            if method in item:
                found.setdefault(group, []).append(_operation(method, path, item))
    return {name: tuple(operations) for name, operations in found.items()}


def _operation(method: str, path: str, item: Schema) -> Operation:
    told = item[method]
    given = [*item.get("parameters", ()), *told.get("parameters", ())]
    parameters = tuple(
        Field(
            each["name"],
            _type(each["schema"]),
            bool(each.get("required")),
            each.get("description", ""),
            where=each["in"],
        )
        for each in given
    )
    status, answer = next((status, each) for status, each in told["responses"].items() if status != "default")
    body = _content(told.get("requestBody", {}))
    example = json.dumps(_example(body), indent=2, ensure_ascii=False) if body else ""
    shown = tuple(_fields(body)) if body else ()
    told_back = _content(answer)
    return Operation(
        told["operationId"], method, path, told["summary"], parameters, shown,
        tuple(_fields(told_back)) if told_back else (), status, example,
    )  # fmt: skip


def _content(part: Schema) -> Schema | None:
    found: Schema | None = part.get("content", {}).get("application/json", {}).get("schema")
    return found


def _resolved(schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = description()["components"]["schemas"][schema["$ref"].removeprefix(REF)]
    return found


def _fields(schema: Schema, level: int = 0) -> Iterator[Field]:
    """A schema's fields, those inside others behind them."""
    schema = _resolved(schema)
    if schema.get("type") == "array":
        yield from _fields(schema.get("items", {}), level)
        return
    for word in ("anyOf", "oneOf"):
        for each in schema.get(word, ()):
            yield from _fields(each, level)
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield Field(name, _type(inner), name in required, inner.get("description", ""), level)
        if level + 1 < DEEPEST:
            yield from _fields(inner, level + 1)


def _type(schema: Schema) -> str:
    """A type in few words."""
    schema = _resolved(schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " | ".join(dict.fromkeys(_type(each) for each in schema[word]))
    kind = schema.get("type", "object")
    if kind == "array":
        return f"{_type(schema.get('items', {}))}[]"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _example(schema: Schema) -> Any:
    """What a body must have, with values of the right type to write over."""
    schema = _resolved(schema)
    if "default" in schema:
        return schema["default"]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _example(schema[word][0])
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", ())), ""))
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            return {name: _example(inner) for name, inner in schema.get("properties", {}).items() if name in required}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return ""
