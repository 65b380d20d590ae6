"""Secrets that the applier handed to this process in the clear: see :mod:`appliance.handed`."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from appliance.handed import FILE

_log = logging.getLogger(__name__)


class Handed:
    """Reads them, again whenever the applier has written the file anew. Thread-safe; needs no applier that runs.

    :param place: ``Paths.handed_to(reader)``.
    """

    def __init__(self, place: Path) -> None:
        self._file = place / FILE
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._held: dict[str, str] = {}

    def get(self, id: str) -> str | None:
        """A secret's clear text; None: there is none (yet), or it can't be read: the log says why."""
        with self._lock:
            self._look()
            return self._held.get(id)

    def _look(self) -> None:
        try:
            found = self._file.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return
            held = json.loads(self._file.read_text(encoding="utf-8"))
            if not isinstance(held, dict) or not all(isinstance(each, str) for each in held.values()):
                raise ValueError("it is no object of texts")
        except FileNotFoundError:
            self._seen, self._held = (), {}
        except (OSError, ValueError) as error:
            if self._held or self._seen != (-1,):
                _log.error("secrets handed to this process can't be read: %s", error.__class__.__name__)
            self._seen, self._held = (-1,), {}
        else:
            self._seen, self._held = seen, held
