"""What is tried of the lines from the console, one thing at a time, so that a page can show how it goes (:mod:`appliance.edge.reach`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from appliance.console.technician.samples import best_ways
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import _, translated

if TYPE_CHECKING:
    from appliance.edge.reach.words import Told

Row = tuple[str, str]
KINDS: Final = ("check", "ping", "trace", "dns")


@dataclass(slots=True)
class Try:
    """One, as it stands. ``kind``: of :data:`KINDS`; ``rows``: what was found, and its style: ``problem``, ``about`` what is said beside, or none."""

    kind: str
    title: str
    rows: list[Row] = field(default_factory=list)
    over: bool = False


class Trying:
    """See this module. ``status``: how the edge stands."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._last: Try | None = None

    @property
    def last(self) -> Try | None:
        """The one that runs, or the last one."""
        return self._last

    def begin(self, kind: str, host: str, line: int | None) -> Try:
        """:param host: what is tried; of a ``check`` nothing: the centre is. :param line: None: as the routes say; of a ``check``: all of them.

        :raises InvalidError: ``kind``, ``bad_host``. :raises NotFoundError: ``no_line``. :raises RefusedError: ``busy``.
        """
        if kind not in KINDS:
            raise InvalidError([Fault("kind", "is nothing that is tried", ", ".join(KINDS), "choice")])
        from appliance.edge.reach.way import checked_host  # small until somebody tries something

        lines = self._lines(line)
        if kind == "check":
            rows, title = _check(lines), _("Check of the lines")
        else:
            device = "" if line is None else str(lines[0]["device"])
            rows, title = _BY_KIND[kind](checked_host(host), device), _TITLES[kind]().format(host=host)
        with self._lock:
            if self._last is not None and not self._last.over:
                raise RefusedError("something is being tried already", "wait until it is over", error_id="busy")
            made = self._last = Try(kind, title)
        threading.Thread(target=copy_context().run, args=(_run, made, rows), daemon=True, name="trying").start()
        return made

    def _lines(self, line: int | None) -> Sequence[Mapping[str, Any]]:
        ways = best_ways(self._status())
        if line is None:
            return list(ways.values())
        if line not in ways:
            raise NotFoundError(
                f"this edge has no line {line}", "which it has: centralino edge status", error_id="no_line"
            )
        return [ways[line]]


def _run(made: Try, rows: Iterator[Row]) -> None:
    try:
        for row in rows:
            made.rows.append(row)
    except CentralinoError as error:
        hint = f" ({translated(error.hint)})" if error.hint else ""
        made.rows.append((f"{translated(error.message)}{hint}", "problem"))
    finally:
        made.over = True


def _row(told: Told) -> Row:
    text, well = told
    return text, "" if well else "problem"


def _check(lines: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    from appliance.edge.reach import gateway, words

    if not lines:
        yield _("This edge has no lines of its own: name what is to be reached, and ping it."), "problem"
    for line in lines:
        verdict = gateway.judged(str(line["device"]), str(line["centre"]))
        yield _row(words.of_verdict(_("Line {number}").format(number=line["line"]), verdict))
        facts, hint = words.of_link(verdict), translated(verdict.hint)
        yield from ((text, "about") for text in (facts, hint and f"→ {hint}") if text)


def _ping(host: str, device: str) -> Iterator[Row]:
    from appliance.edge.reach import ping, words
    from appliance.edge.reach.way import look_up

    echoes = []
    for each in ping.ping(look_up(host, device)):
        echoes.append(each)
        yield _row(words.of_echo(each))
    yield from map(_row, words.of_pinged(ping.summed(echoes)))


def _trace(host: str, device: str) -> Iterator[Row]:
    from appliance.edge.reach import trace, words
    from appliance.edge.reach.way import look_up

    hops = []
    for each in trace.trace(look_up(host, device)):
        hops.append(each)
        yield _row(words.of_hop(each))
    yield from map(_row, words.of_traced(trace.summed(hops)))


def _dns(host: str, device: str) -> Iterator[Row]:
    from appliance.edge.reach import names, words

    none = True
    for each in names.ask_all(host, device):
        none = False
        yield _row(words.of_said(each))
    if none:
        yield _("This machine has no name server."), "problem"


_BY_KIND: Final[Mapping[str, Callable[[str, str], Iterator[Row]]]] = {"ping": _ping, "trace": _trace, "dns": _dns}
_TITLES: Final[Mapping[str, Callable[[], str]]] = {
    "ping": lambda: _("Ping to {host}"), "trace": lambda: _("Way to {host}"), "dns": lambda: _("What name servers say of {host}"),
}  # fmt: skip
