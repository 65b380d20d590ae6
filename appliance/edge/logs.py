"""The ends of an edge's logs, without what is secret (:mod:`.redaction`): for a technician who stands before it.

==========  =================================================================================================
openvpn     what the tunnel says
relay       what the relay of several lines says
foreign     the same of the relay to an OpenVPN server of another maker
dhcp-…      what is asked and heard of addresses at that interface
==========  =================================================================================================

The agent itself tells systemd's journal: ``journalctl -u centralino-edge``.

What happens when a log is emptied while it is followed (it had become too large): it is followed from its new beginning. When a line isn't whole yet: it comes
when it is; when a key's end hasn't come yet: nothing of it comes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import NotFoundError, UnavailableError
from appliance.edge.paths import EdgePaths
from appliance.edge.redaction import Redaction, unfinished
from appliance.edge.secrets_here import contents, secrets_here
from appliance.engine.keeping import in_words

LOOKED_AT: Final = 256 * 1024
"""Octets at the end of a log."""
LOOK_EVERY_S: Final = 0.5
HELD: Final = 64 * 1024
"""Characters of something secret without end, after which it is given up: what comes then is still within it."""


def files(paths: EdgePaths) -> dict[str, Path]:
    """Where logs are, by their names; whether there are any, or not."""
    return {
        "openvpn": paths.log / "openvpn.log",
        "relay": paths.log / "relay.log",
        "foreign": paths.top / "foreign" / "relay.log",
        **{file.stem: file for file in sorted(paths.log.glob("dhcp-*.log"))},
    }


def names(paths: EdgePaths) -> list[str]:
    """Of the logs that there are."""
    return [name for name, file in files(paths).items() if file.is_file()]


def tail(paths: EdgePaths, name: str, lines: int) -> list[str]:
    """The last lines of a log, oldest first, of :data:`LOOKED_AT` octets at most.

    :raises NotFoundError: ``no_log``; :raises UnavailableError: ``log_unreadable``.
    """
    content, _size = _end(paths, name)
    text = Redaction(secrets_here(paths)[0]).text(_cut(content))
    return text.splitlines()[-lines:] if lines > 0 else []


def followed(paths: EdgePaths, name: str, lines: int) -> Iterator[list[str]]:
    """:func:`tail`, and then what comes, in pieces, for ever; nothing new: an empty piece every :data:`LOOK_EVERY_S` seconds. Raises as :func:`tail`."""
    content, at = _end(paths, name)
    whole, held = _whole_lines(content)
    text = _cut(whole)
    yield Redaction(secrets_here(paths)[0]).text(text).splitlines()[-lines:] if lines > 0 else []
    held = _still_open(text) + held
    while True:
        time.sleep(LOOK_EVERY_S)
        came, at = _since(files(paths)[name], at)
        held += came
        whole, rest = _whole_lines(held)
        text = whole.decode(errors="replace")
        if not came or not whole or (unfinished(text) and len(text) < HELD):
            yield []
            continue
        yield Redaction(secrets_here(paths)[0]).text(text).splitlines()
        held = _still_open(text) + rest


def end_of(file: Path, most: int = LOOKED_AT) -> str:
    """The end of a log's text, from a line's beginning. :raises OSError: it can't be read."""
    return _cut(contents(file, most), most)


def _cut(content: bytes, most: int = LOOKED_AT) -> str:
    """Without the line whose beginning isn't there: its secret's name may be."""
    return (content.partition(b"\n")[2] if len(content) >= most else content).decode(errors="replace")


def _end(paths: EdgePaths, name: str) -> tuple[bytes, int]:
    """Of a log, and up to where."""
    file = files(paths).get(name)
    try:
        if file is None:
            raise FileNotFoundError
        since = max(0, file.stat().st_size - LOOKED_AT)
        content = contents(file, LOOKED_AT, since)
        return content, since + len(content)
    except FileNotFoundError as error:
        there = ", ".join(names(paths)) or "–"
        raise NotFoundError(f"there is no log {name!r}", f"there are: {there}", error_id="no_log") from error
    except OSError as error:
        raise UnavailableError(in_words(error), error_id="log_unreadable") from error


def _since(file: Path, at: int) -> tuple[bytes, int]:
    """What has been written since then, and up to where; a log that is smaller was begun anew."""
    try:
        since = at if file.stat().st_size >= at else 0
        content = contents(file, LOOKED_AT, since)
    except OSError:  # it comes again
        return b"", at
    return content, since + len(content)


def _whole_lines(content: bytes) -> tuple[bytes, bytes]:
    whole, newline, rest = content.rpartition(b"\n")
    return whole + newline, rest


def _still_open(text: str) -> bytes:
    """What begins something secret whose lines are still to come: told to whoever reads on."""
    begun = unfinished(text)
    return f"{begun}\n".encode() if begun else b""
