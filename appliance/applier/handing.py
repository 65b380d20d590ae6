"""Hands secrets in the clear to the processes that need them, and takes back what they don't need any more.

Files follow the document in force: they are written after the commit point, so until then a process has the former ones, or
none of a new secret. What can't be written (the disk is full) holds no commit up; it is tried again about once a second.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Final

import structlog

from appliance.applier.files import replace, storage_error
from appliance.core.document import Document
from appliance.handed import FILE, READERS, wanted
from appliance.organisation.model import Secret
from appliance.paths import Paths

_log = structlog.get_logger("centralino.applier")

TOP_MODE: Final = 0o711
DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o640


class Handing:
    """Writes the files of all readers.

    :param group: who may read them, besides ourselves; None: nobody.
    """

    def __init__(self, paths: Paths, group: int | None) -> None:
        self._paths, self._group = paths, group
        self._document: Document | None = None
        self._key: tuple[int, ...] = ()

    def due(self, document: Document, key: tuple[int, ...]) -> bool:
        """Whether the files may be of another document, or what another key opened. ``key``: changes with the key file."""
        return self._document is not document or self._key != key

    def follow(self, document: Document, key: tuple[int, ...], clear: dict[str, str]) -> None:
        """Bring the files up to date.

        :param clear: secret id → clear text, of those that can be opened.
        :raises CentralinoError: the disk refuses; each file is whole, of this document or of the one before.
        """
        for reader in READERS:
            place = self._paths.handed_to(reader)
            try:
                given = self._given(document, clear, reader, place / FILE)
                if self._write(place, json.dumps(given, indent=1).encode() + b"\n"):
                    _log.info("handed", reader=reader, secrets=list(given))
            except OSError as error:
                raise storage_error(error, f"the secrets handed to {reader}") from error
        self._document, self._key = document, key

    @staticmethod
    def _given(document: Document, clear: dict[str, str], reader: str, file: Path) -> dict[str, str]:
        """What a reader is to have. When the key is lost, what it was handed before: nobody could hand it anew."""
        try:
            before = json.loads(file.read_bytes())
        except (FileNotFoundError, ValueError):
            before = {}
        values = {id: document.find(Secret, id) for id in sorted(wanted(document, reader))}
        there = (id for id, secret in values.items() if secret is not None and secret.value is not None)
        return {id: clear.get(id) or before[id] for id in there if id in clear or id in before}

    def _write(self, place: Path, content: bytes) -> bool:
        """Whether it was another one."""
        self._directory(place.parent, TOP_MODE, None)
        self._directory(place, DIRECTORY_MODE, self._group)
        file = place / FILE
        mode = 0o600 if self._group is None else FILE_MODE
        try:
            found = file.stat(follow_symlinks=False)
            right = stat.S_IMODE(found.st_mode) == mode and self._group in (None, found.st_gid)
            if right and file.read_bytes() == content:
                return False
        except FileNotFoundError:
            pass
        replace(file, content, mode, self._group)
        return True

    def _directory(self, place: Path, mode: int, group: int | None) -> None:
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
        if group is not None:
            os.chown(place, -1, group)
