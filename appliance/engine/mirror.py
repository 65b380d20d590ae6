"""Which Debian mirror to build from: the one that this host's own apt uses.

Sources: sources.list(5) (one-line and deb822 forms).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from appliance.core.errors import UnavailableError
from appliance.engine.runner import run

_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)")
_SCHEMES = ("http://", "https://", "file:", "copy:", "mirror+")


def parse_sources(name: str, text: str) -> list[str]:
    """URLs of the Debian main archives that one of apt's source files names, in order.

    Left out: disabled entries, source packages, security and other archives (theirs have no ``sid``).
    """
    entries = _deb822(text) if name.endswith(".sources") else _one_line(text)
    return [url for url, suites, components in entries if _is_main_archive(url, suites, components)]


def _one_line(text: str) -> Iterable[tuple[str, list[str], list[str]]]:
    for line in text.splitlines():
        if match := _ONE_LINE.fullmatch(line.split("#")[0].strip()):
            yield match[1], [match[2]], match[3].split()


def _deb822(text: str) -> Iterable[tuple[str, list[str], list[str]]]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", lines):
        fields = {
            key.lower(): value.split()
            for key, value in re.findall(r"^(\S+?):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if fields.get("enabled", ["yes"])[0].lower() in {"no", "false", "0"} or "deb" not in fields.get("types", []):
            continue
        for url in fields.get("uris", []):
            yield url, fields.get("suites", []), fields.get("components", [])


def _is_main_archive(url: str, suites: list[str], components: list[str]) -> bool:
    """Debian's own archive carries ``main`` in a plain suite; its path ends in ``/debian`` everywhere."""
    return (
        url.startswith(_SCHEMES)
        and "main" in components
        and url.rstrip("/").endswith("/debian")
        and any(re.fullmatch(r"[a-z]+(-updates|-backports)?", suite) for suite in suites)
    )


def redacted(text: str) -> str:
    """The text with user and password of every URL in it taken out."""
    return re.sub(r"(?<=://)[^/@\s]+@", "•••@", text)


def userinfo(text: str) -> str:
    """User and password of the first URL in it; empty: it has none."""
    found = re.search(r"://([^/@\s]+)@", text)
    return found[1] if found else ""


def proxy_environment(mirror: str) -> dict[str, str]:
    """The proxy that this host's apt uses towards the mirror, for an apt that doesn't read the host's settings.

    By environment: on a command line anybody could read its password.
    """
    host = re.search(r"://(?:[^/@\s]+@)?(\[[^]]+\]|[^/:\s]+)", mirror)
    found = {}
    for scheme in ("http", "https"):
        key = f"Acquire::{scheme}::Proxy"
        told = run(["apt-config", "dump", "--format", "%F %V%n", key], check=False).output
        settings = dict(line.split(maxsplit=1) for line in told.splitlines() if len(line.split()) == 2)
        proxy = settings.get(f"{key}::{host[1] if host else ''}", settings.get(key, ""))
        if proxy and proxy != "DIRECT":
            found[f"{scheme}_proxy"] = proxy
    return found


def find_mirror(apt: Path = Path("/etc/apt")) -> str:
    """URL of the mirror: ``CENTRALINO_MIRROR`` when set, else the first main archive of this host's apt.

    :raises UnavailableError: ``mirror_unknown``.
    """
    if override := os.environ.get("CENTRALINO_MIRROR"):
        return override
    files = [
        apt / "sources.list",
        *sorted(apt.glob("sources.list.d/*.list")),
        *sorted(apt.glob("sources.list.d/*.sources")),
    ]
    for file in files:
        if file.is_file() and (urls := parse_sources(file.name, file.read_text(errors="replace"))):
            return urls[0]
    raise UnavailableError(
        "this host's apt names no Debian archive to build the engine from",
        "name one: CENTRALINO_MIRROR=http://your.mirror/debian make engine; "
        "or build from an archive: make engine ARCHIVE=file",
        error_id="mirror_unknown",
    )
