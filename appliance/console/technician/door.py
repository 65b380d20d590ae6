"""Who may come in: by the technician's code of this device, and for how long.

The code is made at the device (``centralino edge code``), is shown once, and only scrypt of it is kept: twelve characters of Crockford's base 32, 60 bits. Without one nobody comes in.

What happens when…

* somebody guesses: after :data:`FREE` wrong attempts everybody waits, twice as long each time, a minute at most; so who guesses gets some 1,500 attempts a day of 2^60;
* another code is made: whoever is signed in stays so until his time is over; the former code opens nothing any more;
* the code's file is garbage, or can't be read: nobody comes in, and the page says the same as for a wrong code; the log says why;
* the console is started anew: everybody signs in again;
* the clock jumps: sessions go by one that nobody sets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import RefusedError
from appliance.vpn import files
from appliance.vpn.enrolment.codes import ALPHABET, as_meant

_log = logging.getLogger("centralino.edge.console")

LENGTH: Final = 12
GROUP: Final = 4
FREE: Final = 5
FORGET_S: Final = 60.0
WAIT_MAX_S: Final = 60.0
FAILURES_MAX: Final = FREE + 6.0
"""More make no difference: 2^6 seconds are more than a minute."""
IDLE_S: Final = 30 * 60.0
LASTS_S: Final = 8 * 3600.0
SESSIONS: Final = 20
"""At once; the oldest ends."""
SALT, DIGEST = 16, 32
"""Octets."""
_SCRYPT: Final[dict[str, int]] = {"n": 2**14, "r": 8, "p": 1, "dklen": DIGEST}


def new_code(file: Path) -> str:
    """Another code, in groups, as it is written down; the former opens nothing any more. The file gets the owner of its directory.

    :raises UnavailableError: ``disk_full``, ``storage``: the former is still good.
    """
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    salt = secrets.token_bytes(SALT)
    kept = {"salt": salt.hex(), "digest": _digest(code, salt).hex()}
    with files.explained("the technician's code"):
        files.put(file, json.dumps(kept).encode())
        owner = file.parent.stat()
        if os.geteuid() == 0:
            os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return "-".join(code[at : at + GROUP] for at in range(0, LENGTH, GROUP))


@dataclass(slots=True)
class Session:
    """Somebody who is signed in. ``csrf``: what his forms have to bring."""

    token: str = field(repr=False)
    csrf: str = field(repr=False)
    begun: float
    seen: float


class Door:
    """See this module. ``now``: seconds of a clock that nobody sets. Several threads may use it."""

    def __init__(self, file: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._file, self._now = file, now
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._failures, self._failed = 0.0, float("-inf")

    @property
    def has_code(self) -> bool:
        """Whether a code was made at this device."""
        return self._file.exists()

    def sign_in(self, code: str) -> Session:
        """:raises RefusedError: ``wrong_code``; ``wait``: too many were wrong of late."""
        with self._lock:  # one at a time: a hundred guesses at once are a hundred
            now = self._now()
            failures = max(0.0, self._failures - (now - self._failed) / FORGET_S)
            wait = min(WAIT_MAX_S, 2.0 ** (self._failures - FREE)) if self._failures >= FREE else 0.0
            if now - self._failed < wait:
                raise RefusedError(
                    "too many codes were wrong", f"wait {int(wait - (now - self._failed)) + 1} s", error_id="wait"
                )
            if not self._fits(code):
                self._failures, self._failed = min(failures + 1, FAILURES_MAX), now
                _log.warning("a wrong technician's code was given")
                raise RefusedError("this isn't the code of this device", "make another at the device: centralino edge code", error_id="wrong_code")  # fmt: skip
            self._failures = 0.0
            made = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now, now)
            while len(self._sessions) >= SESSIONS:
                del self._sessions[min(self._sessions, key=lambda token: self._sessions[token].begun)]
            self._sessions[made.token] = made
            _log.info("somebody signed in by the technician's code")
            return made

    def session(self, token: str) -> Session | None:
        """Whose token that is; it is used now."""
        with self._lock:
            found, now = self._sessions.get(token), self._now()
            if found is None:
                return None
            if now - found.begun >= LASTS_S or now - found.seen >= IDLE_S:
                del self._sessions[token]
                return None
            found.seen = now
            return found

    def sign_out(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(token, None)

    def _fits(self, code: str) -> bool:
        salt, digest = self._kept()
        given = _digest(as_meant(code[:100]), salt)
        return hmac.compare_digest(given, digest)

    def _kept(self) -> tuple[bytes, bytes]:
        """Where there is no code, one that nobody knows: it takes as long."""
        found = kept_in(self._file)
        if found is None:
            if self._file.exists():
                _log.error("%s can't be read; make another code: centralino edge code", self._file)
            return bytes(SALT), secrets.token_bytes(DIGEST)
        return found


def kept_in(file: Path) -> tuple[bytes, bytes] | None:
    """Salt and digest of a code; None: there is none, or it is garbage."""
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
        salt, digest = bytes.fromhex(found["salt"]), bytes.fromhex(found["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return (salt, digest) if (len(salt), len(digest)) == (SALT, DIGEST) else None


def _digest(code: str, salt: bytes) -> bytes:
    return hashlib.scrypt(code.encode(), salt=salt, **_SCRYPT)
