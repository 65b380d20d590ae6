"""Invitations that wait: one small file for each site, ``invitations/SITE.json``; of the secret only its digest.

An invitation is over when its time is over, by the machine's running time or by its clock, whichever comes first: no clock that is set back
makes one last. A machine that was off counts by its clock alone. It is *burned* by :data:`~.codes.TRIES` wrong attempts, and *used*
by the first key that comes with the secret: that key may come again for ten minutes, should the answer have been lost; no other may.

What happens when…

* it is killed between any two steps: a wrong attempt is on the disk before it is answered; the key is on the disk before anything is issued to
  it, so nobody else can take its place, and the same key goes on where it was stopped;
* the disk is full: no invitation is made; an attempt that can't be counted ends its invitation (removing needs no room);
* the file is garbage: it is no invitation, and the next one for the site takes its place;
* a second invitation is made for a site: it ends the first.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from appliance.applier.checkpoint import checkpoint
from appliance.clock import HOUR, MINUTE, SLACK, Clock, Moment, system_clock
from appliance.i18n import later
from appliance.paths import VpnPaths
from appliance.vpn import files
from appliance.vpn.enrolment.codes import TRIES, Secret, digest_of

LONGEST: Final = 7 * 24 * HOUR
AGAIN: Final = 10 * MINUTE
"""How long the key that used an invitation may come again."""
NOTED_EVERY: Final = 10 * MINUTE
"""How often it is written down how much of an invitation's time has run."""
FILES_MAX: Final = 10_000
_SALT: Final = 16
_NOBODY: Final = bytes(_SALT)


class Standing(StrEnum):
    """How an invitation stands."""

    WAITING = "waiting"
    USED = "used"
    BURNED = "burned"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One invitation. Times are ms.

    :param lasts: how long it waits; ``made``: by the clock, since the epoch.
    :param ran: how much of it had run at ``seen``, the uptime of the start ``boot`` of the machine.
    :param key: fingerprint of the key that used it; ``""``: none did. ``used``: how much had run then.
    """

    site: str
    locator: str
    salt: str
    digest: str
    made: int
    lasts: int
    ran: int
    seen: int
    boot: str
    tries: int = 0
    key: str = ""
    used: int = 0

    def __repr__(self) -> str:
        return f"<Waiting {self.site}>"

    @property
    def until(self) -> int:
        """When it is over, by the clock."""
        return self.made + self.lasts

    def elapsed(self, now: Moment) -> int:
        """How much of its time has run at least; more than it lasts if the clock says that it was made in the future."""
        ran = self.ran + max(0, now.uptime - self.seen) if now.boot == self.boot else self.ran
        by_clock = now.wall - self.made
        if by_clock < -SLACK and now.boot != self.boot:
            return self.lasts
        return max(ran, by_clock)

    def standing(self, now: Moment) -> Standing:
        """How it stands now."""
        if self.key:
            return Standing.USED
        if self.tries >= TRIES:
            return Standing.BURNED
        return Standing.OVER if self.elapsed(now) >= self.lasts else Standing.WAITING

    def opens(self, now: Moment) -> bool:
        """Whether the gate has to be open for it: nobody used it yet, or just now."""
        if self.tries >= TRIES:
            return False
        match self.standing(now):
            case Standing.WAITING:
                return True
            case Standing.USED:
                return self.elapsed(now) < self.used + AGAIN
        return False


class Invitations:
    """The invitations of one installation."""

    def __init__(self, paths: VpnPaths, clock: Clock = system_clock) -> None:
        self._directory, self._clock = paths.invitations, clock

    def make(self, site: str, secret: Secret, lasts: int) -> Waiting:
        """On the disk when this returns; whatever the site had before is over. ``lasts``: ms.

        :raises UnavailableError: ``disk_full``, ``storage``: there is none, and the one before stands.
        """
        now, salt = self._clock(), secrets.token_bytes(_SALT)
        digest = digest_of(secret, salt).hex()
        made = Waiting(site, secret.locator, salt.hex(), digest, now.wall, lasts, 0, now.uptime, now.boot)
        with self._turn():
            self._put(made)
        return made

    def free(self, locator: str) -> bool:
        """Whether no invitation has this locator."""
        return all(each.locator != locator for each in self.all().values())

    def withdraw(self, site: str) -> bool:
        """End a site's invitation; whether there was one. :raises UnavailableError: ``storage``."""
        if site not in self.all():
            return False
        with self._turn(), files.explained(later("the invitation")):
            there = self._path(site).exists()
            self._path(site).unlink(missing_ok=True)
            return there

    def all(self) -> dict[str, Waiting]:
        """By site, those that are over too, until something else takes their place."""
        try:
            names = sorted(os.listdir(self._directory))[:FILES_MAX]  # noqa: PTH208 (no path for each of them)
        except OSError:
            return {}
        found = {name.removesuffix(".json"): self._read(name) for name in names if name.endswith(".json")}
        return {site: each for site, each in found.items() if each is not None and each.site == site}

    def open(self) -> dict[str, Waiting]:
        """By site, those that the gate has to be open for. Notes now and then how much of their time has run."""
        now = self._clock()
        found = {site: each for site, each in self.all().items() if each.opens(now)}
        for site, each in found.items():
            if now.boot != each.boot or now.uptime - each.seen > NOTED_EVERY:
                with suppress(Exception), self._turn():
                    current = self._read(f"{site}.json")
                    if current == each:
                        self._put(self._noted(each, now))
        return found

    def admit(self, secret: Secret) -> Waiting | None:
        """The invitation that a secret opens; None: there is none, or none any more. A wrong attempt is counted.

        Takes as long for an invitation that isn't there; what is written makes no difference that the gate lets out.
        """
        with self._turn():
            now = self._clock()
            named = next((each for each in self.all().values() if each.locator == secret.locator), None)
            salt = bytes.fromhex(named.salt) if named else _NOBODY
            right = hmac.compare_digest(digest_of(secret, salt), bytes.fromhex(named.digest) if named else _NOBODY)
            if named is None or not named.opens(now):
                return None
            if right:
                return named
            self._count(named, now)
            return None

    def bind(self, found: Waiting, key: str) -> bool:
        """From now on this key alone may use it; whether it may.

        :raises UnavailableError: ``disk_full``, ``storage``: nobody has used it.
        """
        with self._turn():
            now, current = self._clock(), self._read(f"{found.site}.json")
            if current is None or current.digest != found.digest or not current.opens(now):
                return False
            if not current.key:
                elapsed = current.elapsed(now)
                self._put(replace(self._noted(current, now), key=key, used=elapsed))
                checkpoint("enrolment:bound")
            return not current.key or current.key == key

    def release(self, found: Waiting, key: str) -> None:
        """Nothing was issued to this key, and nothing ever will be: another may use it. :raises UnavailableError: it stays."""
        with self._turn():
            current = self._read(f"{found.site}.json")
            if current is not None and (current.digest, current.key) == (found.digest, key):
                self._put(replace(current, key="", used=0))

    @staticmethod
    def _noted(found: Waiting, now: Moment) -> Waiting:
        return replace(found, ran=max(0, found.elapsed(now)), seen=now.uptime, boot=now.boot)

    def _count(self, found: Waiting, now: Moment) -> None:
        try:
            self._put(replace(self._noted(found, now), tries=found.tries + 1))
        except Exception:  # noqa: BLE001 (whatever it is: an attempt that isn't counted would be one too many)
            with suppress(OSError):
                self._path(found.site).unlink(missing_ok=True)
        checkpoint("enrolment:counted")

    def _put(self, found: Waiting) -> None:
        with files.explained(later("the invitation")):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.put(self._path(found.site), json.dumps(asdict(found), indent=1).encode())

    def _path(self, site: str) -> Path:
        return self._directory / f"{site}.json"

    def _read(self, name: str) -> Waiting | None:
        try:
            plain: dict[str, Any] = json.loads((self._directory / name).read_bytes())
            found = Waiting(**plain)
            numbers = (found.made, found.lasts, found.ran, found.seen, found.tries, found.used)
            texts = (found.site, found.locator, found.boot, found.key)
            whole = len(bytes.fromhex(found.salt)) == _SALT and len(bytes.fromhex(found.digest)) == 32
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        sound = all(type(each) is int and each >= 0 for each in numbers) and all(
            isinstance(each, str) for each in texts
        )
        return found if sound and whole and found.lasts <= LONGEST else None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One after the other, over all processes: two wrong attempts at once are two."""
        with files.explained(later("the invitations")):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
