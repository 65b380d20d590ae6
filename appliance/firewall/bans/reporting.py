"""Telling the judge of bans who tried to get in: one datagram to ``run/attempts.sock``.

The same again is told now and then only (:data:`QUIET_S`): a success that is one among thousands, and an API key that has expired, which
its program sends for ever and nobody can guess at.

Never waits, never fails: when nobody judges here, or too much is on its way, nothing is told. Needs nothing but the standard library,
so that whoever signs people in can use it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Final, Literal, Protocol

from appliance.engine.unix import connect

LONGEST: Final = 1024
"""Bytes of a report."""
TEXT_MAX: Final = 160

QUIET_S: Final = {("api", "failed"): 60.0, ("portal", "succeeded"): 10.0, ("api", "succeeded"): 10.0}
"""Seconds in which the same isn't told again."""
_QUIET_MAX: Final = 2000

Where = Literal["portal", "api", "provisioning", "vpn"]


class Report(Protocol):
    """Tells how an attempt ended.

    :param address: where it came from: the client's own, not that of something in between. Empty or no address: nothing is told.
    :param account: whose account was tried. What nobody's account is called stays out of it: see :func:`unknown`.
    :param detail: what was wrong, in a few words.
    """

    def __call__(
        self, where: Where, address: str, outcome: Literal["failed", "succeeded"], account: str = "", detail: str = ""
    ) -> None: ...


def nobody(
    where: Where,
    address: str,
    outcome: Literal["failed", "succeeded"],
    account: str = "",
    detail: str = "",
) -> None:
    """A report to nobody."""


class Reporter:
    """A :class:`Report` to the judge whose socket this is. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._told: dict[tuple[str, ...], float] = {}

    def __call__(
        self, where: Where, address: str, outcome: Literal["failed", "succeeded"], account: str = "", detail: str = ""
    ) -> None:
        """See :class:`Report`."""
        if not address:
            return
        said = json.dumps([where, address[:64], outcome, account[:TEXT_MAX], detail[:TEXT_MAX]]).encode()
        if len(said) > LONGEST:  # of letters that take six bytes each
            said = json.dumps([where, address[:64], outcome, account[:40], ""]).encode()
        with self._lock:
            if not self._is_news(where, address, outcome, account):
                return
            for _ in range(2):  # the second time to a judge that was started anew
                try:
                    self._connected().send(said)
                except BlockingIOError:
                    return
                except OSError:
                    self._forget()
                else:
                    return

    def close(self) -> None:
        """Forget the connection; the next report makes another."""
        with self._lock:
            self._forget()

    def _is_news(self, *what: str) -> bool:
        quiet, now = QUIET_S.get((what[0], what[2])), time.monotonic()
        if quiet is None:
            return True
        if now - self._told.get(what, -quiet) < quiet:
            return False
        if len(self._told) >= _QUIET_MAX:
            self._told.clear()
        self._told[what] = now
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None:
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                fresh.setblocking(False)
                connect(fresh, self._path)
            except OSError:
                fresh.close()
                raise
            self._socket = fresh
        return self._socket

    def _forget(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


_KEY: Final = secrets.token_bytes(16)


def unknown(typed: str) -> str:
    """A name for what somebody typed that is nobody's account, in the place of it: people type passwords into the wrong field.
    The same for the same, in this process; nobody can find out what it was."""
    return f"unknown {hashlib.blake2b(typed.encode(errors='replace'), digest_size=4, key=_KEY).hexdigest()}"
