"""The description of calls that have ended, and of statistics: made from the models of the history."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from appliance.console.api.history import FORMAT, PAGING, PARAMETERS, STATISTICS, Parameter
from appliance.console.api.openapi_parts import REF, Schema, operation
from appliance.history.hours import Figures
from appliance.history.model import Call
from appliance.history.periods import By

PREFIX: Final = "history."
"""Begins the names of these schemas, so that they aren't taken for kinds of the document."""
_MAYBE: Final[Schema] = {"type": ["number", "null"]}
_CALL: Final[dict[str, Schema]] = {
    "id": {"type": "integer", "description": "The call's id in the history"},
    "ring_ms": {
        "type": "integer",
        "description": "Milliseconds from the first leg called to the answer, or to the end",
    },
    "talk_ms": {"type": "integer", "description": "Milliseconds from the answer to the end"},
    "loss_percent": {**_MAYBE, "description": "Highest loss of any leg in either direction; null: not measured"},
    "jitter_ms": {**_MAYBE, "description": "Highest jitter of any leg in either direction; null: not measured"},
}
_MEANS: Final[dict[str, Schema]] = {
    "answer_rate": {**_MAYBE, "description": "Share of calls that were answered, 0 to 1"},
    "mean_talk_ms": {**_MAYBE, "description": "Mean duration of answered calls"},
    "mean_wait_ms": {**_MAYBE, "description": "Mean time until an answered call was answered"},
    "mean_lost_wait_ms": {**_MAYBE, "description": "Mean time that a call rang which wasn't answered"},
}


def schemas() -> dict[str, Schema]:
    """Calls, their parts, figures, and what lists of them look like."""
    made: dict[str, Schema] = {}
    for model, more in ((Call, _CALL), (Figures, _MEANS)):
        whole = TypeAdapter(model).json_schema(mode="serialization", ref_template=f"{REF}{PREFIX}{{model}}")
        made |= {PREFIX + name: part for name, part in whole.pop("$defs", {}).items()}
        whole["properties"] = {**more, **whole["properties"]}
        whole["required"] = list(whole["properties"])
        made[f"{PREFIX}{model.__name__}"] = whole
    figures = {"$ref": f"{REF}{PREFIX}Figures"}
    line = {"key": {"type": "string"}, **made[f"{PREFIX}Figures"]["properties"]}
    total = {"calls": {"type": "integer"}, "exact": {"type": "boolean", "description": "Counted, not estimated"}}
    return {
        **made,
        f"{PREFIX}Page": {
            "type": "object",
            "description": "Newest first. A page may be short, even empty, and have a next: so far nothing more was found",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "items": {"$ref": f"{REF}{PREFIX}Call"}},
                "next": {"type": ["string", "null"], "description": "Send it as after for the next page; null: there is none"},
                "total": {"type": "object", "required": list(total), "properties": total},
            },
        },
        f"{PREFIX}Row": {"type": "object", "required": list(line), "properties": line},
        f"{PREFIX}Statistics": {
            "type": "object",
            "required": ["by", "zone", "since", "until", "rows", "total"],
            "properties": {
                "by": {"enum": [by.value for by in By]},
                "zone": {"type": "string"},
                "since": {"type": "string", "format": "date-time"},
                "until": {"type": "string", "format": "date-time"},
                "rows": {
                    "type": "array",
                    "description": "A call of two sites stands in both of their rows; hours are 00 to 23, weekdays 1 (Monday) to 7",
                    "items": {"$ref": f"{REF}{PREFIX}Row"},
                },
                "total": figures,
            },
        },
    }  # fmt: skip


def paths() -> dict[str, Any]:
    """The operations."""
    id = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
    listed = operation(
        "list_history",
        "Calls that have ended, newest first",
        f"{PREFIX}Page",
        parameters=_described(PARAMETERS | PAGING),
    )
    sent = operation(
        "export_history", "All calls found, as CSV (RFC 4180)", "", parameters=_described(PARAMETERS | FORMAT)
    )
    sent["responses"]["200"]["content"] = {"text/csv": {"schema": {"type": "string"}}}
    added_up = operation(
        "call_statistics",
        "Volumes, answer rates, durations, waiting times; of the last 30 days unless since is given. At most one of site, trunk,"
        " extension, and then only by a time or in all",
        f"{PREFIX}Statistics",
        parameters=_described(STATISTICS),
    )
    return {
        "/history": {"get": listed},
        "/history.csv": {"get": sent},
        "/history/{id}": {
            "parameters": [id],
            "get": operation("get_history", "One call with its legs", f"{PREFIX}Call"),
        },
        "/statistics": {"get": added_up},
    }


def _described(parameters: dict[str, Parameter]) -> list[Schema]:
    return [
        {"name": name, "in": "query", "schema": each.schema, "description": each.about}
        for name, each in parameters.items()
    ]
