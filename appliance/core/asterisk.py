"""Asterisk's configuration files as values: sections of options, written so that no text can break out of its line.

Rules of the engine's parser (main/config.c): a line is ``key = value``; ``;`` starts a comment unless a backslash
stands before it; the value is trimmed of white space; a line holds at most 8,190 bytes; ``[name](+)`` and ``#include``
act at the start of a line only, where we never put text of users.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

LINE_MAX: Final = 8190
"""Bytes of one line that the engine reads, without its end: longer ones are skipped with a warning."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def writable(value: str) -> bool:
    """Whether a file can carry this text: it holds no control characters, and no white space at either end."""
    return not _CONTROL.search(value) and value == value.strip()


class UncarriableError(ValueError):
    """A value that no engine file can carry: ``section``, ``option`` and ``value`` say which."""

    def __init__(self, reason: str, section: str, option: str, value: str) -> None:
        super().__init__(f"[{section}] {option}: {reason}")
        self.reason, self.section, self.option, self.value = reason, section, option, value


def escape(value: str) -> str:
    """A value as it must stand in a file so that the engine reads back ``value``.

    Raises ValueError for text that no file can carry (see `writable`).
    """
    if _CONTROL.search(value):
        raise ValueError("control characters can't be written to an engine file")
    if value != value.strip():
        raise ValueError("white space at the ends would be lost in an engine file")
    return value.replace(";", "\\;")


@dataclass(frozen=True, slots=True)
class Section:
    """``[name]`` with its options in order. ``type`` tells sorcery objects apart that share a name (endpoint, aor, auth)."""

    name: str
    options: tuple[tuple[str, str], ...]
    type: str = ""

    def get(self, key: str) -> str | None:
        """The last value of an option, or None."""
        return next((value for name, value in reversed(self.options) if name == key), None)

    def text(self) -> str:
        """The section as it stands in the file."""
        lines = [f"[{self.name}]"]
        if self.type:
            lines.append(f"type={self.type}")
        for key, value in self.options:
            try:
                lines.append(_line(key, value))
            except ValueError as error:
                raise UncarriableError(str(error), self.name, key, value) from None
        lines.append("")
        return "\n".join(lines)


_ARROWED: Final = frozenset({"exten", "same", "include", "ignorepat"})


def _line(key: str, value: str) -> str:
    # A value that begins with ">" would be read as the tail of an arrow: give it an arrow of its own.
    line = f"{key}{' => ' if key in _ARROWED or value.startswith('>') else '='}{escape(value)}"
    if len(line) > LINE_MAX // 4 and len(line.encode()) > LINE_MAX:  # UTF-8: at most four bytes each
        raise ValueError(f"a line of more than {LINE_MAX} bytes")
    return line


@dataclass(frozen=True)
class ConfFile:
    """One file of the engine's configuration; ``name`` is relative to its configuration directory."""

    name: str
    sections: tuple[Section, ...]

    @cached_property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(section.text() for section in self.sections)


def dialplan(context: str, *extensions: tuple[str, Sequence[str]], includes: Iterable[str] = ()) -> Section:
    """A dialplan context. Each extension is (pattern, steps); a step is ``App(args)`` or ``label: App(args)``.

    The first step gets priority 1, the others ``same => n``.
    """
    options: list[tuple[str, str]] = []
    for pattern, steps in extensions:
        for index, step in enumerate(steps):
            label, separator, app = step.partition(": ")
            name = f"({label})" if separator and label.isidentifier() else ""
            app = app if name else step
            options.append(("exten", f"{pattern},1{name},{app}") if index == 0 else ("same", f"n{name},{app}"))
    options.extend(("include", other) for other in includes)
    return Section(context, tuple(options))


def table(name: str, rows: Iterable[tuple[str, str]]) -> ConfFile:
    """A hot table ``tables/<name>.conf``, read at call time by ``lookup()``; sharded by the key's last two characters."""
    shards: dict[str, list[tuple[str, str]]] = {}
    for key, value in rows:
        shards.setdefault(key[-2:], []).append((key, value))
    return ConfFile(
        f"tables/{name}.conf", tuple(Section(shard, tuple(sorted(shards[shard]))) for shard in sorted(shards))
    )


def lookup(name: str, variable: str) -> str:
    """The dialplan expression that reads a hot table by the value of a channel variable."""
    return f"${{AST_CONFIG(tables/{name}.conf,${{{variable}:-2}},${{{variable}}})}}"


def parse(text: str) -> tuple[Section, ...]:
    """The sections of a file as the engine reads them, by the rules of its parser. What we write reads back equal.

    Raises ValueError, naming the line, for what the engine refuses or skips with a warning, and for what it knows but
    we never write (templates, additions to sections, includes): found in a file of ours, it would be a break-out.
    """
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    depth = 0
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if len(line.encode()) > LINE_MAX:
            raise ValueError(f"line {number} is too long")
        kept, depth = _without_comments(line, depth)
        content = _strip(kept)
        if content.startswith("["):
            name, closed, rest = content[1:].partition("]")
            if not closed or rest.startswith("("):
                raise ValueError(f"line {number}: {content!r} is no plain section")
            sections.append((name, []))
        elif content.startswith(("#", "\\")):
            raise ValueError(f"line {number}: {content!r} is a directive")
        elif content:
            key, separator, value = content.partition("=")
            if not separator or not _strip(key) or key.endswith("+") or not sections:
                raise ValueError(f"line {number}: {content!r} is no option of a section")
            sections[-1][1].append((_strip(key), _strip(value.removeprefix(">"))))
    if depth:
        raise ValueError("a comment is not closed")
    return tuple(_section(name, options) for name, options in sections)


def _section(name: str, options: list[tuple[str, str]]) -> Section:
    if options and options[0][0] == "type":
        return Section(name, tuple(options[1:]), options[0][1])
    return Section(name, tuple(options))


_BLANKS: Final = "".join(map(chr, range(33)))


def _strip(text: str) -> str:
    return text.strip(_BLANKS)


def _without_comments(line: str, depth: int) -> tuple[str, int]:
    """What is left of a line. ``;`` begins a comment, ``;--`` one that may go over lines and nest, up to ``--;``;
    behind a backslash it is a semicolon. ``depth``: how many comments are open before, and after."""
    kept = ""
    start = at = 0
    while (at := line.find(";", at)) >= 0:
        if at > start and line[at - 1] == "\\":
            line = line[: at - 1] + line[at:]
            start_of_next = at
        elif line.startswith(";--", at) and not line.startswith(";---", at):
            kept += "" if depth else line[start:at]
            depth += 1
            start = start_of_next = at + 3
        elif depth and line[max(start, at - 2) : at] == "--":
            depth -= 1
            start = start_of_next = at + 1
        elif not depth:
            return kept + line[start:at], 0
        else:
            start_of_next = at + 1
        at = start_of_next
    return (kept if depth else kept + line[start:]), depth
