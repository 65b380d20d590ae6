"""What an edge's support bundle is made of: for each part its name, what it is, and how it is found (:mod:`.bundle` puts them together)."""

from __future__ import annotations

import json
import os
import platform
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Final

from appliance.clock import Moment
from appliance.core.errors import CorruptError, UnavailableError
from appliance.edge import journal
from appliance.edge.logs import end_of
from appliance.edge.owner import as_root
from appliance.edge.paths import EdgePaths
from appliance.edge.secrets_here import contents, why
from appliance.edge.states import IDENTITY, ROOT, States
from appliance.engine.runner import run
from appliance.i18n import later
from appliance.vpn.pki import certificates, chains

RUN_S: Final = 5.0
LOGS_MAX: Final = 32
FILES_MAX: Final = 2000
EVENTS_MAX: Final = 10_200
"""All that a journal holds."""
SYSCTL: Final = Path("/proc/sys/net/ipv4")
SETTINGS: Final = ("ip_forward", "ping_group_range", "conf/all/rp_filter")
_LOG_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
_NETWORK: Final = (
    ("address", "interfaces and their addresses", ("address",)),
    ("routes-4", "routes of all tables, IPv4", ("-4", "route", "show", "table", "all")),
    ("routes-6", "routes of all tables, IPv6", ("-6", "route", "show", "table", "all")),
    ("rules-4", "which table is asked when, IPv4", ("-4", "rule")),
    ("rules-6", "which table is asked when, IPv6", ("-6", "rule")),
    ("neighbours", "hardware addresses of who is on the same networks", ("neigh",)),
)


@dataclass(frozen=True, slots=True)
class Part:
    """``content``: finds it; a text, or what JSON can say. ``log``: its end is what counts."""

    name: str
    about: str
    content: Callable[[], Any]
    log: bool = False


def all_of(paths: EdgePaths, told: Mapping[str, Any], now: Moment) -> list[Part]:
    """In any order."""
    return [
        Part("status.json", "how the edge stands, as its agent tells it", partial(_told, told)),
        Part("events.jsonl", "what happened: what waits for the centre, and the last that it has; the newest first", partial(_events, paths)),
        Part("versions.json", "of the programs", _versions),
        Part("machine.json", "clock, time since its start, load, memory, disks", partial(_machine, paths, told, now)),
        Part("slice.json", "the configuration in force, as the centre gave it", partial(_slice, paths)),
        Part("certificates.pem", "the edge's certificate and those above it; all of it is public", partial(_chain, paths)),
        Part("files.txt", "files of the edge: mode, owner, size, time, name; none of their content", partial(_files, paths)),
        Part("sysctl.txt", "settings of the kernel's network", _sysctl),
        Part("network/nftables.txt", "the firewall's rules", _nftables),
        *(Part(f"network/{name}.json", about, partial(_ip, words)) for name, about, words in _NETWORK),
        *_logs(paths),
    ]  # fmt: skip


def _told(told: Mapping[str, Any]) -> Any:
    if not told:
        raise UnavailableError(later("no edge runs here"), "start it: centralino edge run", error_id="edge_not_running")
    return told


def _events(paths: EdgePaths) -> list[dict[str, Any]]:
    return [
        {"number": each.number, "at": _time(each.at), "sure": each.sure, "what": each.what, "about": each.about}
        for each in journal.recent(paths.journal, EVENTS_MAX)
    ]


def _versions() -> dict[str, str]:
    try:
        ours = version("centralino")
    except PackageNotFoundError:
        ours = "?"
    kernel = os.uname()
    found = {"centralino": ours, "python": platform.python_version(), "kernel": f"{kernel.release} {kernel.machine}"}
    for name, argv in (("openvpn", ["openvpn", "--version"]), ("nft", ["nft", "--version"]), ("ip", ["ip", "-V"])):
        try:
            found[name] = run(argv, timeout_s=RUN_S, check=False).output.split("\n")[0]
        except UnavailableError as error:
            found[name] = error.message
    try:
        found["system"] = platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    except OSError:
        found["system"] = "?"
    return found


def _machine(paths: EdgePaths, told: Mapping[str, Any], now: Moment) -> dict[str, Any]:
    return {
        "clock": {
            "now": _time(now.wall),
            "sure": told.get("clock_sure"),
            "kept": _text_or_why(paths.clock),
            "zone": time.tzname[0],
        },
        "up_s": now.uptime // 1000,
        "load": _text_or_why(Path("/proc/loadavg")),
        "memory": _memory(),
        "disks": {str(each): _space(each) for each in dict.fromkeys((paths.top, paths.run, paths.log))},
    }


def _memory() -> dict[str, str]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    wanted = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    return {name: size.strip() for name, _colon, size in (line.partition(":") for line in lines) if name in wanted}


def _space(place: Path) -> dict[str, int] | str:
    """Octets and files that there are, and that are free for us."""
    try:
        found = os.statvfs(place)
    except OSError as error:
        return error.strerror or str(error)
    return {
        "octets": found.f_frsize * found.f_blocks,
        "free": found.f_frsize * found.f_bavail,
        "files": found.f_files,
        "files_free": found.f_favail,
    }


def _slice(paths: EdgePaths) -> Any:
    state = States(paths).current()
    if state is None:
        raise _not_enrolled()
    return {"state": state.name, "on_trial": state.trial is not None, **state.slice.model_dump(mode="json")}


def _chain(paths: EdgePaths) -> str:
    """Written anew from what was read: nothing else of the files can come along."""
    name = States(paths).name
    if name is None:
        raise _not_enrolled()
    place = paths.states / name
    own, root = (chains.read(contents(place / file, chains.MAX_BYTES)) for file in (IDENTITY, ROOT))
    if not own:
        raise CorruptError(f"there is no certificate in {place / IDENTITY}", error_id="state_damaged")
    return "".join(certificates.pem(each).decode() for each in (*own, *root))


def _not_enrolled() -> UnavailableError:
    return UnavailableError(
        later("this edge isn't enrolled"), later("enrol it: centralino edge enrol"), error_id="not_enrolled"
    )


def _files(paths: EdgePaths) -> str:
    tops = [paths.top] if paths.run.is_relative_to(paths.top) else [paths.top, paths.run]
    lines = list(islice((line for top in tops for line in _listed(top)), FILES_MAX + 1))
    return "\n".join([*lines[:FILES_MAX], *(["… and more"] if len(lines) > FILES_MAX else []), ""])


def _listed(top: Path) -> Iterator[str]:
    refused: list[OSError] = []
    yield _line(top)
    for place, directories, names in os.walk(top, onerror=refused.append):
        directories.sort()
        yield from (_line(Path(place, name)) for name in sorted({*names, *directories}))
    yield from map(why, refused)


def _line(path: Path) -> str:
    try:
        found = path.lstat()
        link = f" -> {path.readlink()}" if stat.S_ISLNK(found.st_mode) else ""
    except OSError as error:
        return f"{path}: {error.strerror}"
    at = _time(found.st_mtime_ns // 1_000_000)
    shown = str(path).encode(errors="replace").decode()
    return f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {found.st_size:>9} {at} {shown!r}{link}"


def _sysctl() -> str:
    return "".join(f"net.ipv4.{name.replace('/', '.')} = {_text_or_why(SYSCTL / name)}\n" for name in SETTINGS)


def _nftables() -> str:
    """With the rights of whoever asks, if the edge's own don't do: what it shows is nobody's file."""
    found: list[str] = []

    def ask() -> None:
        done = run(["nft", "list", "ruleset"], timeout_s=RUN_S, check=True)
        found.append(done.output or "(none)\n")

    as_root(ask)
    return found[0]


def _ip(words: tuple[str, ...]) -> Any:
    done = run(["ip", "-j", *words], timeout_s=RUN_S)
    return json.loads(done.output or "[]")


def _logs(paths: EdgePaths) -> Iterator[Part]:
    for folder, place, pattern in (("logs", paths.log, "*"), ("logs/foreign", paths.top / "foreign", "relay.log*")):
        try:
            found = sorted((each for each in place.glob(pattern) if _LOG_NAME.fullmatch(each.name)), key=_oldest_last)
        except OSError:
            continue
        for count, file in enumerate(found):
            content = partial(end_of, file) if count < LOGS_MAX else _too_many
            yield Part(f"{folder}/{file.name}", "the end of a log", content, log=True)


def _oldest_last(log: Path) -> tuple[int, str]:
    """By the number that it was given when it was put away (:func:`appliance.engine.logs.bound_ours`)."""
    number = log.suffix[1:]
    return (int(number) if number.isdecimal() else -1), log.name


def _too_many() -> str:
    raise UnavailableError(later("it is one of too many"))


def _text_or_why(path: Path) -> str:
    try:
        return contents(path, 4096, 0).decode(errors="replace").strip()
    except OSError as error:
        return error.strerror or str(error)


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(ms)
