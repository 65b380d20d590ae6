"""What a generation says of the voice VPN's daemons: written by the applier, read by the keeper.

``host/vpn/voice-0.conf`` is a daemon's whole configuration, ``host/vpn/voice-0/SITE`` what it gives a branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.engine.keeping import unreadable
from appliance.vpn.plan import Daemon

FOLDER: Final = "host/vpn/"
"""Within a generation."""


@dataclass(frozen=True, slots=True)
class Configured:
    """One daemon's configuration, and its clients' by site."""

    config: str
    clients: Mapping[str, str]


def files(daemons: Iterable[Daemon]) -> dict[str, str]:
    """Files of a generation, by name."""
    found = {}
    for daemon in daemons:
        found[f"{FOLDER}{daemon.interface}.conf"] = daemon.config
        found |= {f"{FOLDER}{daemon.interface}/{site}": text for site, text in daemon.clients.items()}
    return found


def configured(generation: Path) -> dict[str, Configured]:
    """By interface, of a generation (or the link to the one in force).

    :raises UnavailableError: it can't be read: what runs had better go on.
    """
    top = generation.resolve()  # one generation, even if the link moves meanwhile
    if not top.is_dir():
        raise UnavailableError("there is no configuration yet", "start the applier", error_id="no_configuration")
    try:
        return {path.stem: _configured(path) for path in sorted((top / FOLDER).glob("*.conf"))}
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(error) from error


class Generations:
    """Reads the generation in force once: none is changed after it was written.

    :param link: to the one in force.
    """

    def __init__(self, link: Path) -> None:
        self._link = link
        self._read: tuple[tuple[str, int, int], dict[str, Configured]] | None = None

    def read(self) -> dict[str, Configured]:
        """Like :func:`configured`; the same objects as long as it is the same generation."""
        top = self._link.resolve()
        try:
            told = (top / FOLDER if (top / FOLDER).is_dir() else top).stat()
        except OSError:
            self._read = None
            return configured(top)
        key = (str(top), told.st_ino, told.st_mtime_ns)
        if self._read is None or self._read[0] != key:
            self._read = key, configured(top)
        return self._read[1]


def _configured(path: Path) -> Configured:
    folder = path.with_suffix("")
    clients = sorted(folder.iterdir()) if folder.is_dir() else []
    return Configured(path.read_text(), {client.name: client.read_text() for client in clients})
