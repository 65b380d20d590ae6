"""The engine root's definition and manifest: pure parsing and checks.

Sources: Debian Policy 5.6.12 (version numbers); Debian repository format (Release files: Date, Valid-Until).
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from appliance.core.errors import CorruptError, RefusedError, UnavailableError

BUILDER_VERSION = "3"
"""Part of every root's hash: count up when the builder makes a different root of the same definition."""

_FIELDS = {"suite", "components", "accept_asterisk", "max_overdue_days", "packages", "without", "keep", "drop"}
_BOUND = re.compile(r"(>=|<=|<|>|==)\s*(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Definition:
    """What the engine root holds; every entry of the tables has its reason as value."""

    suite: str
    components: tuple[str, ...]
    accept_asterisk: str
    max_overdue_days: int
    packages: dict[str, str]
    without: dict[str, str]
    keep: dict[str, str]
    drop: dict[str, str]
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Definition:
        """Parse ``definition.toml``.

        :raises CorruptError: not TOML, a field is missing, unknown or of the wrong type, an entry has no reason.
        """
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise CorruptError(f"the engine root's definition is not TOML: {error}") from error
        if wrong := _FIELDS ^ raw.keys():
            raise CorruptError(
                f"the engine root's definition has missing or unknown fields: {', '.join(sorted(wrong))}",
                f"it needs exactly: {', '.join(sorted(_FIELDS))}",
            )
        for table in ("packages", "without", "keep", "drop"):
            for entry, reason in raw[table].items():
                if not isinstance(reason, str) or not reason.strip():
                    raise CorruptError(f"[{table}] {entry} has no reason", 'write it as: name = "why it is needed"')
        parse_bounds(raw["accept_asterisk"])
        canonical = json.dumps(raw, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(f"{BUILDER_VERSION}\n{canonical}".encode()).hexdigest()
        return cls(components=tuple(raw.pop("components")), digest=digest, **raw)

    @property
    def name(self) -> str:
        """Short name of the root that this definition makes: its directory in the cache."""
        return self.digest[:16]


def parse_bounds(bounds: str) -> list[tuple[str, tuple[int, ...]]]:
    """``">=22.10,<23"`` → ``[(">=", (22, 10)), ("<", (23,))]``.

    :raises CorruptError: not of that form.
    """
    found = []
    for part in bounds.split(","):
        match = _BOUND.fullmatch(part.strip())
        if match is None:
            raise CorruptError(f"{part!r} is no version bound", "write it like >=22.10,<23")
        found.append((match[1], tuple(int(number) for number in match[2].split("."))))
    return found


def upstream_version(debian_version: str) -> tuple[int, ...]:
    """``1:22.10.1+dfsg+~cs6-1`` → ``(22, 10, 1)``: epoch, Debian revision and suffixes taken off.

    A pre-release (``23.0.0~rc1``) counts as the version it leads to: what a range excludes, it excludes too.

    :raises CorruptError: no leading number.
    """
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", debian_version)
    if match is None:
        raise CorruptError(f"{debian_version!r} is no version number")
    return tuple(int(number) for number in match[1].split("."))


def check_asterisk(version: str, bounds: str) -> None:
    """Refuse an Asterisk that Centralino wasn't tested with.

    :raises RefusedError: ``engine_version`` outside ``bounds``.
    """
    mine = upstream_version(version)
    for operator, bound in parse_bounds(bounds):
        width = max(len(mine), len(bound))
        a, b = mine + (0,) * (width - len(mine)), bound + (0,) * (width - len(bound))
        holds = {">=": a >= b, "<=": a <= b, "<": a < b, ">": a > b, "==": a == b}[operator]
        if not holds:
            raise RefusedError(
                f"the mirror offers Asterisk {version}, Centralino needs {bounds}",
                "build from an archive of a root that works: make engine ARCHIVE=file",
                error_id="engine_version",
            )


@dataclass(frozen=True, slots=True)
class Release:
    """Head of a repository's (In)Release file."""

    suite: str
    date: datetime
    valid_until: datetime | None


def parse_release(text: str) -> Release:
    """Read suite and dates of a Release file, inline-signed or not.

    :raises CorruptError: no date in it, or one that can't be read.
    """
    fields = dict(re.findall(r"^(Suite|Date|Valid-Until): (.+)$", text, re.MULTILINE))
    try:
        until = fields.get("Valid-Until")
        return Release(fields.get("Suite", ""), _date(fields["Date"]), _date(until) if until else None)
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptError("the mirror's Release file has no readable date", "try another mirror") from error


def _date(text: str) -> datetime:
    return parsedate_to_datetime(text.replace("UTC", "+0000"))


def check_release(release: Release, now: datetime, max_overdue_days: int) -> None:
    """Refuse a mirror that has stood still for too long.

    :raises UnavailableError: ``mirror_stale``.
    """
    until = release.valid_until or release.date
    overdue = now - until
    if overdue > timedelta(days=max_overdue_days):
        raise UnavailableError(
            f"the mirror's Release file expired {overdue.days} days ago ({until:%Y-%m-%d}); "
            f"up to {max_overdue_days} days are accepted",
            "check this machine's clock; else take another mirror (CENTRALINO_MIRROR=URL) "
            "or build from an archive (make engine ARCHIVE=file)",
            error_id="mirror_stale",
        )


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package that the root was made of. ``size``: bytes of the .deb; ``sha256``: its hash."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    file: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Exactly what a root holds. Sizes in MB (10⁶ bytes), times in seconds."""

    name: str
    digest: str
    suite: str
    asterisk: str
    janus: str
    release_date: str
    source: str
    tree: str
    size_untrimmed_mb: float
    size_mb: float
    download_mb: float
    build_s: float
    packages: tuple[Package, ...] = field(default_factory=tuple)

    def dumps(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def loads(cls, text: str) -> Manifest:
        """:raises CorruptError: not a manifest."""
        try:
            raw: dict[str, Any] = json.loads(text)
            packages = tuple(Package(**each) for each in raw.pop("packages"))
            return cls(packages=packages, **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptError(f"this is no manifest of an engine root: {error}") from error

    def version_of(self, package: str) -> str:
        """:raises CorruptError: the root has no such package."""
        for each in self.packages:
            if each.name == package:
                return each.version
        raise CorruptError(f"the engine root has no package {package}")
