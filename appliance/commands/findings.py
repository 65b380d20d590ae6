"""What ``centralino doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``mend`` says what to do when it isn't well."""

    check: str
    grade: Grade
    message: str
    mend: str = ""
