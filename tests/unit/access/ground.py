"""What the tests of sign-in stand on: real databases, a document with some people, a clock that can be set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher

from appliance.access import passwords, signin
from appliance.access.access import Access
from appliance.access.factors import Factors
from appliance.access.passkeys import RelyingParty
from appliance.access.sessions import Session
from appliance.access.signin import Outcome, SignIn
from appliance.access.signing import SigningKeys
from appliance.clock import Moment
from appliance.core.document import Document
from appliance.organisation.model import Person
from appliance.store import access as table
from appliance.store.sealing import Keyring
from tests.hil.agents.authenticator import Authenticator

HOME, ABROAD = "192.0.2.10", "198.51.100.7"
AGENT = "Firefox on a test bench"
PASSWORD = "kestrel-violet-umbra"
OTHER = "basalt-lantern-thimble"
PORTAL = "https://pbx.example.com:8443"
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
START = 1_790_000_000_000


@dataclass
class Hands:
    """A clock whose hands are moved. ``pass_`` is time that passes; ``set_wall`` is somebody setting the clock."""

    wall: int = START
    uptime: int = 3 * DAY
    boot: str = "boot-1"

    def __call__(self) -> Moment:
        return Moment(self.wall, self.uptime, self.boot)

    def pass_(self, millis: int) -> None:
        self.wall += millis
        self.uptime += millis

    def set_wall(self, by: int) -> None:
        self.wall += by

    def restart(self, *, off: int = 0, up: int = MINUTE) -> None:
        """The machine was off for some time, and is up again for some."""
        self.boot += "'"
        self.uptime = up
        self.wall += off + up


@dataclass
class Ground:
    """One installation's sign-in."""

    url: str
    state: Path
    clock: Hands = field(default_factory=Hands)
    must: bool = False
    secrets: dict[str, str] = field(default_factory=dict)
    reports: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.document = Document.of(
            [
                Person(id="ann", name="Ann Example", email="a.example@example.com"),
                Person(id="bob", name="Bob Sample", email="bob@example.com"),
            ]
        )
        signing = SigningKeys(self.state / "keys" / "tokens.json")
        self.access = Access(table.open_access(self.url), self.keyring, signing, self.clock)
        party = RelyingParty.of(PORTAL)
        self.signin = SignIn(
            self.access, lambda: self.document, lambda _: self.must, party, secrets=self.secrets.get,
            report=lambda *said: self.reports.append(said),
        )  # fmt: skip
        self.factors = Factors(self.access, lambda: self.document, party)

    def keyring(self) -> Keyring:
        return Keyring.load_or_create(self.state / "keys" / "secret.key")

    def remove(self, person: str) -> None:
        self.document = self.document.with_changes(remove=[("person", person)])

    def enter(self, person: str = "ann", address: str = HOME, password: str = PASSWORD) -> Outcome:
        """Somebody new sets a password by a link, and is signed in as far as that goes."""
        return self.signin.link(self.access.links.make(person, author="tester"), password, address, AGENT)

    def find(self, outcome: Outcome) -> Session | None:
        return self.access.sessions.find(outcome.token)

    def with_totp(self, person: str = "ann") -> tuple[pyotp.TOTP, tuple[str, ...]]:
        """Somebody with an authenticator app: it, and the recovery codes. The app's next code is a step ahead."""
        session = self.enter(person).session
        app = pyotp.TOTP(self.factors.begin_totp(session).secret)
        enrolled = self.factors.confirm_totp(session, self.shown(app), HOME)
        self.clock.pass_(30 * SECOND)
        return app, enrolled.recovery_codes

    def shown(self, app: pyotp.TOTP, steps: int = 0) -> str:
        """What the app shows now, or some steps from now."""
        return app.at(self.clock.wall // 1000 + 30 * steps)

    def with_passkey(self, person: str = "ann", **options: Any) -> Authenticator:
        """Somebody with a passkey."""
        session = self.enter(person).session
        device = Authenticator(PORTAL, **options)
        ceremony = self.factors.begin_passkey(session)
        self.factors.add_passkey(session, ceremony.token, device.make(ceremony.options), "desk key", HOME)
        return device

    def events(self, *wanted: str) -> list[tuple[str, str]]:
        """Event and person of the audit, the oldest first."""
        found = [(entry.event, entry.person) for entry in reversed(self.access.audit.entries(limit=1000))]
        return [each for each in found if not wanted or each[0] in wanted]

    def everything(self) -> str:
        """All that the database holds, as text."""
        with self.access.database.read() as connection:
            tables = table.metadata.sorted_tables
            return "\n".join(
                f"{each.name} {tuple(row)!r}" for each in tables for row in connection.execute(each.select())
            )


@contextmanager
def open_ground(url: str, state: Path, kind: type[Ground] = Ground, **options: Any) -> Iterator[Ground]:
    ground = kind(url, state, **options)
    try:
        yield ground
        assert ground.access.audit.verify().broken is None
    finally:
        ground.access.close()


@contextmanager
def quick_ground(url: str, state: Path, patch: pytest.MonkeyPatch, kind: type[Ground] = Ground) -> Iterator[Ground]:
    """One that doesn't wait: failures are told at once, and hashes are cheap. A test of its own sees the real ones."""
    patch.setattr(signin, "FAILURE_S", 0.0)
    patch.setattr(signin, "DIRECTORY_FAILURE_S", 0.0)
    patch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    passwords.dummy.cache_clear()
    try:
        with open_ground(url, state, kind) as ground:
            yield ground
    finally:
        passwords.dummy.cache_clear()
