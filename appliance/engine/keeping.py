"""What keepers of other programs' daemons have in common: telling what can't be done now, and looking at what they wrote."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.i18n import later

_log = logging.getLogger("centralino.keeping")
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


def text_of(path: Path) -> str:
    """A file's text; none: it isn't there, or can't be read, so it is to be written anew."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


@contextlib.contextmanager
def telling(found: list[str]) -> Iterator[None]:
    """What fails within is added to ``found``, in words and with what to do, and hinders nothing else: a mistake of ours least of all,
    for a keeper that dies of it looks after nothing any more."""
    try:
        yield
    except (CentralinoError, OSError) as error:
        found.append(in_words(error))
    except Exception as error:  # noqa: BLE001 (see above)
        message = f"a mistake of ours: {type(error).__name__}"
        hint = "what runs goes on; report it, with what the log says"
        found.append(f"{message} ({hint})")
        place = type(error), error.__traceback__ and error.__traceback__.tb_lasti
        if place not in _LOGGED:
            _LOGGED.add(place)
            _log.exception("while looking after a daemon")


_LOGGED: Final[set[object]] = set()
"""Mistakes of ours whose whole story is in the log."""


def in_words(error: CentralinoError | OSError) -> str:
    """What can't be done, or what the file system refuses, and in brackets what to do."""
    if isinstance(error, CentralinoError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    if error.errno in _FULL:
        where = error.filename or later("what was being written")
        message = f"no space left for {where}"
        hint = "free space on the disk that holds the state directory; it is tried again"
        return f"{message} ({hint})"
    if error.filename is None:
        return error.strerror or str(error)
    hint = "check its owner and mode, and that nothing else stands in its place"
    return f"{error.filename}: {error.strerror} ({hint})"


def unreadable(error: OSError | UnicodeDecodeError) -> UnavailableError:
    """The generation in force is damaged, or closed to us: what runs had better go on."""
    reason = (error.strerror or "") if isinstance(error, OSError) else later("it is garbage")
    return UnavailableError(
        f"the configuration can't be read: {reason}", "what runs goes on; commit anything: the applier writes it anew",
        error_id="no_configuration",
    )  # fmt: skip
