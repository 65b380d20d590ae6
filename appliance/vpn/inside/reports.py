"""What edges say of themselves: one small file for each site, so that what is known survives both ends' restarts.

An edge's word about itself, shown as such; nothing is decided by it but what is shown.
"""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, ValidationError

from appliance.core.errors import Fault, InvalidError
from appliance.core.fields import Host, Port
from appliance.core.model import Part
from appliance.vpn import files

WAYS_MAX: Final = 64
"""Addresses of the centre that are remembered of a site."""
WRITTEN_EVERY_S: Final = 3600
_FILE_MAX: Final = 64 * 1024


class Standing(StrEnum):
    """How an edge stands with a slice."""

    TRIAL = "trial"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"


class Way(Part):
    """By which of the centre's addresses it came in: as it stands in its slice."""

    host: Host
    port: Port


class Report(Part):
    """What an edge tells.

    :param digest: of the slice that it is about.
    :param way: None: it can't tell.
    :param why: in words, why it went back.
    :param version: of its software.
    """

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    revision: Annotated[int, Field(ge=0)]
    standing: Standing
    way: Way | None = None
    why: Annotated[str, StringConstraints(max_length=500)] = ""
    version: Annotated[str, StringConstraints(max_length=60)] = ""
    formats: Annotated[tuple[int, ...], Field(max_length=20)] = ()


def read(body: bytes) -> Report:
    """:raises InvalidError: ``bad_report``."""
    try:
        return Report.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "report"
        raise InvalidError(
            [Fault(where, f"is wrong: {first['msg']}", "centre and edge speak different releases", "bad_report")]
        ) from error


class Reports:
    """All sites' reports below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, dict[str, Any]] = {}
        self._written: dict[str, float] = {}

    def take(self, site: str, certificate: str, report: Report) -> None:
        """Remember it; on the disk if it says something new, or once an hour. :raises OSError: it is remembered in memory only."""
        now = int(time.time())
        before = self._known.get(site) or self.of(site) or {}
        ways: dict[str, int] = dict(before.get("ways") or {})
        if report.way is not None and report.standing is not Standing.ROLLED_BACK:
            ways[f"{report.way.host} {report.way.port}"] = now
        ways = dict(sorted(ways.items(), key=lambda each: -each[1])[:WAYS_MAX])
        plain = {"at": now, "certificate": certificate, **report.model_dump(mode="json"), "ways": ways}
        plain["way"] = plain["way"] or before.get("way")
        said = {key: value for key, value in plain.items() if key not in ("at", "ways")}
        news = {key: value for key, value in before.items() if key not in ("at", "ways")} != said
        news = news or before.get("ways", {}).keys() != ways.keys()
        self._known[site] = plain
        if news or time.monotonic() - self._written.get(site, -WRITTEN_EVERY_S) >= WRITTEN_EVERY_S:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.put(self._directory / f"{site}.json", json.dumps(plain, indent=1).encode())
            self._written[site] = time.monotonic()

    def of(self, site: str) -> dict[str, Any] | None:
        """The last one of a site; None: nothing that can be read."""
        try:
            with (self._directory / f"{site}.json").open("rb") as file:
                plain = json.loads(file.read(_FILE_MAX))
        except (OSError, ValueError, RecursionError):
            return None
        return plain if isinstance(plain, dict) and isinstance(plain.get("ways", {}), dict) else None
