"""Asterisk's configuration files as values: sections of options, written so that no text can break out of its line.

Rules of the engine's parser (main/config.c): a line is ``key = value``; ``;`` starts a comment unless a backslash
stands before it; the value is trimmed of white space; a line holds at most 8,191 bytes; ``[name](+)`` and ``#include``
act at the start of a line only, where we never put text of users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

LINE_MAX: Final = 8191
"""Bytes of one line that the engine reads."""


def escape(value: str) -> str:
    """A value as it must stand in a file so that the engine reads back ``value``.

    Raises ValueError for text that no file can carry: control characters, or white space at either end.
    """
    if any(char < " " or char == "\x7f" for char in value):
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
        arrow = " => "
        for key, value in self.options:
            # A value that begins with ">" would be read as the tail of an arrow: give it an arrow of its own.
            line = f"{key}{arrow if key in _ARROWED or value.startswith('>') else '='}{escape(value)}"
            if len(line.encode()) > LINE_MAX:
                raise ValueError(f"[{self.name}] {key}: a line of more than {LINE_MAX} bytes")
            lines.append(line)
        lines.append("")
        return "\n".join(lines)


_ARROWED: Final = frozenset({"exten", "same", "include", "ignorepat"})


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
