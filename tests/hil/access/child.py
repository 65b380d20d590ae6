"""A process that the tests of sign-in start beside others, starve and kill: ``python -m tests.hil.access.child WHAT URL STATE …``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

from appliance.access import recovery, signin, totp
from appliance.core.errors import CentralinoError, RefusedError
from tests.unit.access.ground import HOME, PASSWORD, Ground


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201


def ready() -> None:
    """Wait until all are there."""
    say("ready")
    sys.stdin.readline()


def recovery_codes(url: str, state: str, *codes: str) -> None:
    """Use every one of the codes; how many were good."""
    ground = Ground(url, Path(state))
    ready()
    good = 0
    for code in codes:
        with ground.access.database.write() as connection:
            good += recovery.use(connection, "ann", code)
    say(good)


def steps(url: str, state: str, first: str, *codes: str) -> None:
    """Use the codes of an app, a step each; how many were good."""
    ground = Ground(url, Path(state))
    ground.clock.wall = int(first)
    ready()
    good = 0
    for code in codes:
        with ground.access.database.write() as connection:
            good += totp.accept(connection, ground.clock(), ground.keyring(), "ann", code)
        ground.clock.pass_(30_000)
    say(good)


def whole_sign_in(url: str, state: str, wall: str, code: str) -> None:
    """Sign in with password and code; 1 if it went."""
    ground = Ground(url, Path(state))
    ground.clock.wall = int(wall)
    session = ground.signin.password("ann", PASSWORD, HOME).session
    ready()
    try:
        ground.signin.code(session, code, HOME)
    except RefusedError:
        say(0)
    else:
        say(1)


def link(url: str, state: str, token: str, password: str) -> None:
    """Use a link; 1 if it was good."""
    ground = Ground(url, Path(state))
    ready()
    try:
        ground.signin.link(token, password, HOME)
    except RefusedError:
        say(0)
    else:
        say(1)


def guess(url: str, state: str, times: str) -> None:
    """Guess a password many times at once with others; the audit tells how many were looked at."""
    ground = Ground(url, Path(state))
    signin.FAILURE_S = 0.0  # type: ignore[misc]
    ready()
    for _ in range(int(times)):
        with contextlib.suppress(RefusedError):
            ground.signin.password("bob", "granite-walnut-saddle", HOME)
    say(0)


def for_ever(url: str, state: str) -> None:
    """Links, each used to set a password of its own; its number is told before and after."""
    ground = Ground(url, Path(state))
    number = int(sys.stdin.readline())
    while True:
        number += 1
        token = ground.access.links.make("ann")
        say("begin", number)
        ground.signin.link(token, f"{PASSWORD} {number}", HOME)
        say("done", number)


def fill_disk(_url: str, directory: str) -> None:
    """On a disk of two megabytes of its own: sign in until it is full; then what still goes; then make room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", directory], check=True)
    ground = Ground(f"sqlite:///{directory}/access.db", Path(directory))
    outcome = ground.enter()
    _, key = ground.access.keys.make("ann", "script", ["*:view"])
    ballast = Path(directory) / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\x00" * 4096)
        except OSError:
            pass
    errors: list[str] = []
    for _ in range(2000):
        try:
            ground.access.links.make("bob")
        except CentralinoError as error:
            errors.append(error.error_id)
            break
    ground.clock.pass_(120_000)  # its use is to be noted, and can't be
    going_on = [ground.find(outcome) is not None, ground.access.keys.find(key) is not None]
    try:
        ground.signin.password("ann", PASSWORD, HOME)
    except CentralinoError as error:
        errors.append(error.error_id)
    ballast.unlink()
    again = ground.signin.password("ann", PASSWORD, HOME).session.person
    say(
        json.dumps(
            {"errors": errors, "going_on": going_on, "again": again, "broken": ground.access.audit.verify().broken}
        )
    )


if __name__ == "__main__":
    whats = {
        "recovery": recovery_codes, "steps": steps, "sign-in": whole_sign_in, "link": link, "guess": guess,
        "for-ever": for_ever, "fill": fill_disk,
    }  # fmt: skip
    whats[sys.argv[1]](*sys.argv[2:])
