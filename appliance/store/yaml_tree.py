"""YAML read with suspicion: every key knows its line, and what could harm or mislead is refused.

Refused: anchors and aliases (a few lines can stand for gigabytes), tags, duplicate keys, keys that aren't text, several
documents, deep nesting. All plain values are text, except ``null``, ``~`` and nothing at all: what is a number is for
the models to say, so ``number: 0123`` keeps its zero and ``name: no`` is not false (as YAML 1.1 would have it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import yaml

from appliance.core.errors import Fault

DEPTH_MAX: Final = 12
FAULTS_MAX: Final = 1000
"""Enough to mend a file; a file of millions of faults must not fill the memory."""

_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Map(dict[str, Any]):
    """A mapping; ``lines`` tells on which line each key stands (the first is 1)."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class Sequence(list[Any]):
    """A list; ``lines`` tells on which line each item begins."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


def read(text: str) -> tuple[Any, list[Fault]]:
    """The tree of a YAML text, and all that is wrong with it (path, line). A syntax error is one fault, the only one."""
    loader = yaml.CSafeLoader(text)
    reader = _Reader(loader)
    try:
        return reader.document(), reader.faults
    except _TooDeepError:
        return None, reader.faults
    except yaml.YAMLError as error:
        return None, [_syntax(error)]
    finally:
        loader.dispose()


def _syntax(error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be read"
    hint = "put text with special characters between double quotes; indent with spaces, never tabs"
    return Fault("file", f"is not YAML: {problem}", hint, "yaml", line=mark.line + 1 if mark else None)


class _TooDeepError(Exception):
    pass


class _Reader:
    def __init__(self, loader: yaml.CSafeLoader) -> None:
        # PyYAML's types say "Event or None" of what is always an event of the kind that the grammar has there.
        self._next: Callable[[], Any] = loader.get_event
        self._path: list[str] = []
        self.faults: list[Fault] = []

    def document(self) -> Any:
        self._next()  # start of the stream
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        tree = self._node(self._next())
        self._next()  # end of the document
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._fault(event, "holds several YAML documents", "leave only one, without ---", "several")
        return tree

    def _node(self, event: Any) -> Any:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.anchor is not None or event.tag is not None:
                self._refuse(event)
            value = event.value
            return None if value in _NOTHING and event.implicit[0] and not event.style else value
        if kind is yaml.AliasEvent:
            self._fault(event, f"holds an alias (*{event.anchor})", _ALIAS, "alias")
            return None
        if event.anchor is not None or event.tag is not None:
            self._refuse(event)
        if len(self._path) >= DEPTH_MAX:
            # Read no further: the time that libyaml takes grows with the square of the depth.
            self._fault(event, "is nested too deeply", "see an export for how a document looks", "depth")
            raise _TooDeepError
        return self._map() if kind is yaml.MappingStartEvent else self._sequence()

    def _map(self) -> Map:
        found = Map()
        while True:
            event = self._next()
            kind = type(event)
            if kind is yaml.MappingEndEvent:
                return found
            if kind is not yaml.ScalarEvent:
                self._fault(event, "has a key that isn't text", "write key: value", "key")
                self._skip(event)
                self._skip(self._next())
                continue
            if event.anchor is not None or event.tag is not None:
                self._refuse(event)
            key = event.value
            self._path.append(key)
            if key in found:
                hint = f"the first is on line {found.lines[key]}; leave only one"
                self._fault(event, "stands here twice", hint, "duplicate")
                self._skip(self._next())
            else:
                found.lines[key] = event.start_mark.line + 1
                found[key] = self._node(self._next())
            self._path.pop()

    def _sequence(self) -> Sequence:
        found = Sequence()
        while True:
            event = self._next()
            if type(event) is yaml.SequenceEndEvent:
                return found
            self._path.append(f"[{len(found)}]")
            found.lines.append(event.start_mark.line + 1)
            found.append(self._node(event))
            self._path.pop()

    def _skip(self, event: Any) -> None:
        """Over a node and all that is in it."""
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = self._next()

    def _refuse(self, event: Any) -> None:
        if event.anchor is not None:
            self._fault(event, f"holds an anchor (&{event.anchor})", _ALIAS, "alias")
        if event.tag is not None:
            self._fault(event, f"holds a tag ({event.tag})", 'write the value alone, or between "quotes"', "tag")

    def _fault(self, event: Any, message: str, hint: str, error_id: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(fault_path(self._path), message, hint, error_id, line=event.start_mark.line + 1))


_ALIAS: Final = 'write the value out each time; put text that begins with * or & between "quotes"'


def fault_path(keys: list[str]) -> str:
    """Keys from the top as a path of faults: ``objects → extension → a → x → [0]`` is ``extension/a/x[0]``."""
    if keys[:1] == ["objects"] and len(keys) > 1:
        keys = keys[1:]
    path = "/".join(keys[:3])
    for key in keys[3:]:
        path += key if key.startswith("[") else f".{key}"
    return path or "file"
