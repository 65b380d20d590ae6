"""The installation's key file as the applier sees it: read again when it changes, and no hindrance when it is lost."""

from __future__ import annotations

from pathlib import Path

from appliance.core.errors import CentralinoError, CorruptError
from appliance.store import Keyring, Store


class KeyFile:
    """Opens secrets. People rotate or replace the file while the applier runs."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._keyring: Keyring | None = None
        self._seen: tuple[int, ...] = ()
        self.problem: CentralinoError | None = None
        """Why the file is of no use, if it is of none."""
        self.look()

    def look(self) -> bool:
        """Whether the file is another than at the last look; reads it if so. Makes one if nothing is sealed yet."""
        seen = self.stamp()
        if seen and seen == self._seen:
            return False
        try:
            self._keyring = self._store.keyring(self._path)
        except CentralinoError as error:
            changed = self._keyring is not None or self.problem is None
            self._keyring, self._seen, self.problem = None, (), error
            return changed
        self._seen, self.problem = self.stamp(), None
        return True

    def stamp(self) -> tuple[int, ...]:
        """Changes with the file; empty: there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns

    def open(self, id: str, sealed: str) -> str:
        """The clear text. :raises CorruptError: this key doesn't open it, or there is no key."""
        if self._keyring is None:
            raise CorruptError(f"secret/{id} can't be opened", error_id="bad_key")
        return self._keyring.open(id, sealed)

    def seal(self, id: str, clear: str) -> str:
        """A secret's text as the document holds it. :raises CentralinoError: there is no key."""
        self.look()
        if self._keyring is None:
            raise self.problem or CorruptError(f"secret/{id} can't be sealed", error_id="bad_key")
        return self._keyring.seal(id, clear)
