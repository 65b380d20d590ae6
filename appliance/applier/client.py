"""The other end of the applier's socket, for the command and the portal."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from appliance.applier.protocol import ANSWER_MAX, request_json
from appliance.core.errors import UnavailableError
from appliance.core.errors_json import error_from
from appliance.engine import unix

CONNECT_S: Final = 5.0
ASK_S: Final = 120.0
CHANGE_S: Final = 600.0


class ApplierClient:
    """Asks the applier; each call is a connection of its own. Errors are those of the service, by type.

    :param progress: called with a sentence for each step of a change.
    """

    def __init__(self, path: Path, progress: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._progress = progress

    def plan(self, revision: int, *, confirm: bool = False) -> dict[str, Any]:
        """What committing a proposed revision would do; see :func:`appliance.applier.plan.for_people`."""
        return self._ask("plan", ASK_S, revision=revision, confirm=confirm)

    def verify(self, revision: int | None = None) -> list[dict[str, str]]:
        """Every fault of a proposed revision, or of the committed document."""
        found: list[dict[str, str]] = self._ask("verify", ASK_S, revision=revision)["faults"]
        return found

    def apply(
        self,
        revision: int,
        *,
        allow: Sequence[str] = (),
        confirm_s: float | None = None,
        at: datetime | None = None,
        offline: bool = False,
    ) -> dict[str, Any]:
        """Apply and commit a proposed revision, now or ``at`` a time (which must have a time zone)."""
        return self._ask(
            "apply", CHANGE_S, revision=revision, allow=list(allow), confirm_s=confirm_s, at=at, offline=offline
        )

    def confirm(self, revision: int | None = None) -> dict[str, Any]:
        """Keep what was committed with a confirm window."""
        return self._ask("confirm", CHANGE_S, revision=revision)

    def rollback(
        self,
        revision: int,
        *,
        author: str,
        message: str = "",
        allow: Sequence[str] = (),
        confirm_s: float | None = None,
        offline: bool = False,
        at: datetime | None = None,
    ) -> dict[str, Any]:
        """Commit the content of an old revision again, now or ``at`` a time (which must have a time zone)."""
        return self._ask(
            "rollback",
            CHANGE_S,
            revision=revision,
            author=author,
            message=message,
            allow=list(allow),
            confirm_s=confirm_s,
            offline=offline,
            at=at,
        )

    def unschedule(self, revision: int) -> dict[str, Any]:
        """Take a revision off the schedule."""
        return self._ask("unschedule", ASK_S, revision=revision)

    def state(self) -> dict[str, Any]:
        """What is in force, and what waits."""
        return self._ask("state", ASK_S)

    def check(self) -> list[str]:
        """Have the engine asked for everything; what it holds otherwise than it should."""
        found: list[str] = self._ask("check", CHANGE_S)["mismatches"]
        return found

    def seal(self, id: str, clear: str) -> str:
        """A secret's clear text as the document holds it: the key file stays with the applier."""
        sealed: str = self._ask("seal", ASK_S, id=id, clear=clear)["sealed"]
        return sealed

    def look_up(self) -> list[str]:
        """Have every host name of the document looked up now; which these are."""
        found: list[str] = self._ask("look_up", ASK_S)["names"]
        return found

    def _ask(self, op: str, timeout_s: float, **fields: Any) -> dict[str, Any]:
        line = json.dumps(request_json(op, **fields)).encode() + b"\n"
        deadline = time.monotonic() + timeout_s
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(CONNECT_S)
                unix.connect(connection, self._path)
                connection.sendall(line)
                return self._answer(connection, deadline)
        except (OSError, ValueError) as error:
            what = "didn't answer in time" if isinstance(error, TimeoutError) else "can't be reached"
            raise UnavailableError(
                f"the applier {what}", "is it running, and may you use its socket? centralino status",
                error_id="applier_unreachable",
            ) from error  # fmt: skip

    def _answer(self, connection: socket.socket, deadline: float) -> dict[str, Any]:
        buffer = bytearray()
        while True:
            end = buffer.find(b"\n")
            if end < 0:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                data = connection.recv(1 << 18)
                if not data or len(buffer) > ANSWER_MAX:
                    raise ConnectionResetError
                buffer += data
                continue
            answer = json.loads(bytes(buffer[:end]))
            del buffer[: end + 1]
            if "progress" in answer:
                if self._progress is not None:
                    self._progress(answer["progress"])
            elif answer.get("ok"):
                result: dict[str, Any] = answer["result"]
                return result
            else:
                raise error_from(answer.get("error", {}))
