"""Idempotency keys: a program that doesn't know whether its request arrived sends it again with the same key, and nothing is done
twice (draft-ietf-httpapi-idempotency-key-header-06).

What is noted before a request is done outlives this process. A key is good for a day, for one asker and one request.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError, Fault, InvalidError, RefusedError, UnavailableError

KEY: Final = re.compile(r"[!-~]{1,64}")
LASTS_S: Final = 24 * 3600
BUSY_S: Final = 30.0
"""Longer than anything takes that is done with a key."""

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS request (
        asker TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, begun REAL NOT NULL, answer TEXT,
        PRIMARY KEY (asker, key)
    ) WITHOUT ROWID
"""


class Idempotency:
    """What was asked with which key. ``file``: its database, made when it isn't there."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock

    def once(self, asker: str, key: str | None, request: str, do: Callable[[], str]) -> str:
        """The answer of ``do``, or of the request before that had the same key.

        :param request: what is asked: another one must have another key.
        :raises InvalidError: ``idempotency_key``: no key, or that of another request.
        :raises RefusedError: ``idempotency_busy``: the first one isn't done; ``idempotency_unknown``: whether it was done, isn't known.
        :raises UnavailableError: ``idempotency_unavailable``: nothing can be noted, so nothing was done.
        """
        if key is None:
            return do()
        if not KEY.fullmatch(key):
            raise _fault("is not a key", "1 to 64 visible ASCII characters, such as a UUID")
        digest = hashlib.sha256(request.encode()).hexdigest()
        with self._database() as database:
            kept = self._begin(database, asker, key, digest)
        if kept is not None:
            return kept
        try:
            answer = do()
        except UnavailableError:
            raise  # it may have been done or not: the key stays without an answer
        except CentralinoError:
            with self._database() as database:  # nothing was done
                database.execute("DELETE FROM request WHERE asker = ? AND key = ?", (asker, key))
            raise
        with self._database() as database:
            database.execute("UPDATE request SET answer = ? WHERE asker = ? AND key = ?", (answer, asker, key))
        return answer

    def _begin(self, database: sqlite3.Connection, asker: str, key: str, digest: str) -> str | None:
        """Note the request; the answer if it was noted and answered before."""
        now = self._clock()
        # A clock that was set back must not keep a key for years.
        database.execute("DELETE FROM request WHERE begun < ? OR begun > ?", (now - LASTS_S, now + LASTS_S))
        found = database.execute(
            "SELECT digest, begun, answer FROM request WHERE asker = ? AND key = ?", (asker, key)
        ).fetchone()
        if found is None:
            database.execute("INSERT INTO request VALUES (?, ?, ?, ?, NULL)", (asker, key, digest, now))
            return None
        if found[0] != digest:
            raise _fault("was used for another request", "take a new key for each request")
        if found[2] is not None:
            return str(found[2])
        if abs(now - found[1]) < BUSY_S:
            raise RefusedError(
                "the first request with this key isn't done", "wait some seconds", error_id="idempotency_busy"
            )
        raise RefusedError(
            "whether the first request with this key was done isn't known",
            "see what calls there are, then ask with another key",
            error_id="idempotency_unknown",
        )

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._file, timeout=5, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute(_TABLE)
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                finally:
                    database.execute("COMMIT" if database.in_transaction else "SELECT 1")
        except sqlite3.Error as error:
            raise UnavailableError(
                f"requests can't be noted: {error}",
                "is the disk full? without a key it works",
                error_id="idempotency_unavailable",
            ) from error


def _fault(message: str, hint: str) -> InvalidError:
    return InvalidError([Fault("header/Idempotency-Key", message, hint, "idempotency_key")])
