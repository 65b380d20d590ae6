"""Pieces that the API's description is made of."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

REF: Final = "#/components/schemas/"


def operation(
    id: str, summary: str, answer: str, *, status: int = 200, body: str = "", parameters: list[Schema] | None = None
) -> Schema:
    """One operation; every one may also answer with a problem."""
    content = {"application/json": {"schema": {"$ref": REF + answer}}} if answer else None
    made: Schema = {
        "operationId": id,
        "summary": summary,
        "responses": {
            str(status): {"description": "It worked", **({"content": content} if content else {})},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if parameters:
        made["parameters"] = parameters
    if body:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"$ref": REF + body}}}}
    return made
