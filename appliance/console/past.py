"""The call history for the console: opened when it is first asked for, seen as far as somebody may see it, streamed as CSV.

The history's daemon makes the tables and brings them up to date; nobody waits for that here. What takes too long is ended: a
search among millions of calls must not hold a thread that others need.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from flask import Response

from appliance.access.permissions import Subject
from appliance.access.seen_calls import visible_calls, zone_of_reader
from appliance.core.document import Document
from appliance.core.errors import RefusedError, UnavailableError
from appliance.history.export import Format, rows
from appliance.history.filter import EVERY_CALL, CallFilter, Visible
from appliance.history.service import History, Page, StoredCall, Total
from appliance.history.statistics import Statistics, Wanted
from appliance.paths import Paths
from appliance.store.database import Database, Patience
from appliance.store.history import open_history

PATIENCE: Final = Patience(turn=3, answer=20)
REMEMBERED_S: Final = 30.0
_REMEMBERED_MAX: Final = 500
T = TypeVar("T")
EXPORTS_MAX: Final = 3
"""Files that are sent at once: each takes a thread for as long as its reader takes."""


class Past:
    """The database, for all threads. What can't be opened is tried again with the next request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._remembered: dict[Hashable, tuple[float, Any]] = {}
        self.exports = threading.BoundedSemaphore(EXPORTS_MAX)

    def seen_by(self, subject: Subject, document: Document, paths: Paths) -> SeenHistory:
        """The history as a subject may see it.

        :raises RefusedError: ``forbidden``.
        :raises UnavailableError: it can't be read now: ``database_missing``, ``database_updating``, ``database_busy`` …
        """
        visible = visible_calls(subject, document)
        return SeenHistory(History(self.database(paths)), visible, zone_of_reader(subject, document), self.exports)

    def database(self, paths: Paths) -> Database:
        """The history's database, with what is to be sent. Rights are the caller's business.

        :raises UnavailableError: it can't be opened now.
        """
        if self._database is not None:
            return self._database
        # While one thread waits for a locked database, the others don't queue up behind it for ever.
        if not self._lock.acquire(timeout=PATIENCE.turn):
            raise UnavailableError("the call history is locked", "try again", error_id="database_busy")
        try:
            if self._database is None:
                self._database = open_history(paths=paths, upgrade=False, patience=PATIENCE)
            return self._database
        finally:
            self._lock.release()

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for this key within the last :data:`REMEMBERED_S`: pages that load themselves again ask for it often."""
        now = time.monotonic()
        found = self._remembered.get(key)
        if found is None or now > found[0]:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            found = self._remembered[key] = (now + REMEMBERED_S, make())
        made: T = found[1]
        return made

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None


@dataclass(frozen=True, slots=True)
class SeenHistory:
    """The history through somebody's eyes.

    :param visible: what may be seen; None: everything.
    :param zone: name of the time zone in which times are read.
    """

    whole: History
    visible: Visible | None
    zone: str
    exports: threading.BoundedSemaphore

    def calls(self, filter: CallFilter = EVERY_CALL, *, limit: int = 50, after: str | None = None) -> Page:
        """See :meth:`History.calls`."""
        return self.whole.calls(filter, limit=limit, after=after, visible_to=self.visible)

    def total(self, filter: CallFilter = EVERY_CALL) -> Total:
        """See :meth:`History.total`."""
        return self.whole.total(filter, visible_to=self.visible)

    def call(self, id: int) -> StoredCall:
        """See :meth:`History.call`."""
        return self.whole.call(id, visible_to=self.visible)

    def statistics(self, wanted: Wanted) -> Statistics:
        """See :meth:`History.statistics`."""
        return self.whole.statistics(wanted, visible_to=self.visible)

    def csv(self, filter: CallFilter, format: Format, name: str) -> Response:
        """The calls found as a file of that name, sent while it is made.

        :raises RefusedError: ``too_many_requests``: others are sent already.
        """
        if not self.exports.acquire(blocking=False):
            raise RefusedError(
                "several lists of calls are being sent already", "try again in a moment", error_id="too_many_requests"
            )
        try:
            pieces = rows(self.whole, filter, format, visible_to=self.visible)
            begun = [*itertools.islice(pieces, 2)]  # what is wrong shows while it can still be answered
        except BaseException:
            self.exports.release()
            raise
        response = Response(_Sent(itertools.chain(begun, pieces), self.exports), mimetype="text/csv")
        response.headers["Content-Type"] = "text/csv; charset=utf-8; header=present"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


class _Sent:
    """Pieces of a file; gives its place back when the answer is over, however it ends, sent or not."""

    def __init__(self, pieces: Iterator[str], places: threading.BoundedSemaphore) -> None:
        self._pieces, self._places, self._over = pieces, places, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The answer is over."""
        if not self._over:
            self._over = True
            self._places.release()
