"""Errors as plain data, as processes of ours tell them to each other."""

from __future__ import annotations

from typing import Any

from appliance.core import errors
from appliance.core.errors import CentralinoError, ConflictError, Fault, InvalidError


def error_json(error: CentralinoError) -> dict[str, Any]:
    """An error as plain data."""
    kind = next(each.__name__ for each in type(error).__mro__ if each.__module__ == errors.__name__)
    known: dict[str, Any] = {
        "type": kind, "error_id": error.error_id, "message": error.message, "hint": error.hint,
    }  # fmt: skip
    if isinstance(error, InvalidError):
        known["faults"] = [fault_json(fault) for fault in error.faults]
    if isinstance(error, ConflictError):
        known["changed"] = list(error.changed)
    return known


def fault_json(fault: Fault) -> dict[str, str]:
    """A fault as plain data."""
    known = {"path": fault.path, "message": fault.message, "hint": fault.hint, "error_id": fault.error_id}
    return {**known, "severity": fault.severity}


def error_from(data: dict[str, Any]) -> CentralinoError:
    """The error that :func:`error_json` described."""
    kind = getattr(errors, str(data.get("type")), CentralinoError)
    message, hint = str(data.get("message", "it failed")), str(data.get("hint", ""))
    if kind is InvalidError and data.get("faults"):
        return InvalidError([Fault(**fault) for fault in data["faults"]])
    if kind is ConflictError:
        return ConflictError(message, hint, changed=data.get("changed", ()))
    if not (isinstance(kind, type) and issubclass(kind, CentralinoError)) or kind is InvalidError:
        kind = CentralinoError
    return kind(message, hint, error_id=str(data.get("error_id", "error")))
