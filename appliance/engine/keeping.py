"""What keepers of other programs' daemons have in common: telling what can't be done now, and looking at what they wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from appliance.core.errors import CentralinoError


def text_of(path: Path) -> str:
    """A file's text; none: it isn't there, or can't be read, so it is to be written anew."""
    try:
        return path.read_text()
    except OSError:
        return ""


@contextlib.contextmanager
def telling(found: list[str]) -> Iterator[None]:
    """What fails within is added to ``found``, in words, and hinders nothing else."""
    try:
        yield
    except CentralinoError as error:
        found.append(f"{error.message} ({error.hint})" if error.hint else error.message)
    except OSError as error:
        found.append(f"{error.filename}: {error.strerror}" if error.filename else str(error))
