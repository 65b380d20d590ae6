"""What the engine must say of a section, and whether what it says means the same (pure).

The engine answers in its own spelling: ``yes`` comes back as ``true``, ``192.0.2.0/24`` with its mask written out,
``ef`` as ``184``. Each rule here was tried on the engine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from appliance.core.asterisk import Section
from appliance.core.plan import ReadBack

HINT: Final = "hint"
SECRET: Final = frozenset(
    {"password", "password_digest", "md5_cred", "secret", "refresh_token", "oauth_secret", "domain"}
)
UNREADABLE: Final = frozenset({"disallow", "deny", "permit", "contact_deny", "contact_permit"})
"""Options that the engine takes but doesn't tell."""

PRESENCE: Final[Mapping[str, str]] = {
    "auth": "auth_type",
    "aor": "max_contacts",
    "transport": "protocol",
    "identify": "endpoint",
    "registration": "server_uri",
    "acl": "",
    "global": "user_agent",
    "system": "timer_t1",
}
"""A field of each type that an existing object always has: empty means that there is no such object."""

_LISTS: Final = frozenset({"allow", "set_var", "match", "local_net", "contact", "ca_list", "external_media"})
_NETWORKS: Final = frozenset({"match", "local_net"})
_DSCP: Final = {
    "ef": 46, "va": 44, "lephb": 1,
    **{f"cs{number}": number * 8 for number in range(8)},
    **{f"af{group}{drop}": group * 8 + drop * 2 for group in range(1, 5) for drop in range(1, 4)},
}  # fmt: skip
_TRUE: Final = frozenset({"yes", "true", "on", "1", "y", "t"})
_FALSE: Final = frozenset({"no", "false", "off", "0", "n", "f"})
_TOKEN: Final = re.compile(r"(@[a-z0-9][a-z0-9-]*)\.[0-9a-z]{16,}")
_WITH_PORT: Final = re.compile(r"(?:\[(?P<v6>[^]]+)\]|(?P<v4>[\d.]+)):(?P<port>\d+)(?P<mask>/.*)?")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One field that the engine holds otherwise than it should."""

    object: str
    field: str
    wanted: str
    got: str

    def __str__(self) -> str:
        if self.field in SECRET:
            return redacted(f"{self.object}: {self.field} isn't what was written")
        if not self.field:
            return redacted(f"{self.object}: {self.got}")
        return redacted(f"{self.object}: {self.field} should be {self.wanted!r} and is {self.got!r}")


def redacted(text: str) -> str:
    """Names of endpoints without the installation's token, by which a device could pass for one that is allowed on
    another transport."""
    return _TOKEN.sub(r"\1", text)


def name_of(step: ReadBack) -> str:
    """The object as people know it."""
    return f"{step.type} {step.section}" if step.type else f"[{step.section}] of {step.file}"


def fields(section: Section) -> dict[str, str]:
    """Option → value as the engine sees it: the last one wins, lists are joined."""
    found: dict[str, str] = {}
    for key, value in section.options:
        if key in UNREADABLE:
            continue
        found[key] = f"{found[key]},{value}" if key in _LISTS and key in found else value
    return found


def dropped(step: ReadBack) -> dict[str, str]:
    """Options that the object had and no longer has: the engine must be back at its default."""
    if step.before is None or step.after is None:
        return {}
    kept = fields(step.after)
    return {key: value for key, value in fields(step.before).items() if key not in kept}


@cache
def camel(option: str) -> str:
    """An option as the manager interface spells it: ``rtp_timeout`` → ``RtpTimeout``."""
    return "".join(part[:1].upper() + part[1:] for part in option.split("_"))


def same(option: str, wanted: str, got: str) -> bool:
    """Whether the engine's value means what was written."""
    if wanted == got:
        return True
    if option in SECRET or option == "set_var":
        return False
    return _canonical(option, wanted) == _canonical(option, got)


def _canonical(option: str, value: str) -> object:
    if option == "allow":
        return tuple(codec for codec in re.findall(r"[^|,()\s]+", value) if codec != "!all")
    if option == "callerid":
        return _caller(value)
    if option == "dtls_verify":
        return value.lower()
    if option == "bind":
        return value.lower().removesuffix(":5060")
    if option in {"call_group", "pickup_group"}:
        return frozenset(_groups(value))
    if option.startswith("tos"):
        return _DSCP[value.lower()] * 4 if value.lower() in _DSCP else _word(value)
    parts = [part.strip() for part in value.split(",")]
    if option in _NETWORKS:
        return tuple(map(_network, parts))
    return tuple(_word(re.sub(r"\s*:\s*", ":", part)) for part in parts)


def _word(value: str) -> object:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    if _NUMBER.fullmatch(value):
        return float(value)
    return value


def _network(value: str) -> str:
    """A network by its prefix length, with the port that an identify may have: ``192.0.2.1:5060/32``."""
    port = ""
    if with_port := _WITH_PORT.fullmatch(value):
        port = f":{with_port['port']}"
        value = (with_port["v6"] or with_port["v4"]) + (with_port["mask"] or "")
    try:
        address, _, mask = value.partition("/")
        if ":" in mask:
            mask = str(int(ipaddress.IPv6Address(mask)).bit_count())
        return str(ipaddress.ip_network(f"{address}/{mask}" if mask else address, strict=False)) + port
    except ValueError:
        return value


def _caller(value: str) -> tuple[str, str]:
    match = re.fullmatch(r'\s*(?:"(?P<quoted>.*)"|(?P<plain>[^<"]*?))\s*<(?P<number>[^>]*)>\s*', value)
    if match is None:
        return "", value.strip()
    return match["quoted"] or match["plain"] or "", match["number"]


def _groups(value: str) -> Iterator[int]:
    for part in value.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            yield from range(int(first), int(last or first) + 1)


# Dialplan


@dataclass(frozen=True, slots=True)
class Step:
    """One priority of an extension, as the engine keeps it."""

    label: str
    app: str
    data: str

    def __str__(self) -> str:
        return f"{f'({self.label})' if self.label else ''}{self.app}({self.data})"


@dataclass(frozen=True, slots=True)
class Context:
    """A dialplan context: (pattern, priority) → step; contexts included, in order."""

    steps: Mapping[tuple[str, str], Step]
    includes: tuple[str, ...]


def context(options: Iterable[tuple[str, str]]) -> Context:
    """What the engine must make of a context's lines. Source: the rules of pbx_config.c."""
    steps: dict[tuple[str, str], Step] = {}
    includes: list[str] = []
    pattern, last = "", 0
    for key, value in options:
        if key == "include":
            includes.append(value)
        elif key in {"exten", "same"}:
            rest = value
            if key == "exten":
                pattern, _, rest = value.partition(",")
            priority, _, call = rest.partition(",")
            priority, _, label = priority.strip().partition("(")
            if priority in {"n", "next"}:
                last += 1
            elif priority != HINT:
                last = int(priority)
            app, data = _call(call)
            where = HINT if priority == HINT else str(last)
            steps.setdefault((pattern, where), Step(label.rstrip(")"), app, data))
    return Context(steps, tuple(dict.fromkeys(includes)))


def _call(text: str) -> tuple[str, str]:
    app, bracket, rest = text.partition("(")
    if not bracket:
        return text.strip(), ""
    if "${" in app or "$[" in app:
        return text.strip(), ""
    data, _, _ = rest.rpartition(")")
    return app.strip(), data


def compare_contexts(name: str, wanted: Context, got: Context) -> Iterator[Mismatch]:
    """Every priority that differs, is missing or is too many.

    A hint of one extension beside those wanted is none too many: the engine makes it of the pattern's hint as soon as
    somebody watches that extension.
    """
    pattern_hints = any(priority == HINT and pattern.startswith("_") for pattern, priority in wanted.steps)
    for pattern, priority in dict.fromkeys((*wanted.steps, *got.steps)):
        want, have = wanted.steps.get((pattern, priority)), got.steps.get((pattern, priority))
        if want is None and priority == HINT and pattern_hints and not pattern.startswith("_"):
            continue
        if want != have:
            yield Mismatch(name, f"{pattern},{priority}", str(want or "nothing"), str(have or "nothing"))
    if wanted.includes != got.includes:
        yield Mismatch(name, "include", ", ".join(wanted.includes), ", ".join(got.includes))
