"""What every command shares: where things are, who is asking, how results and errors look."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.core.errors import CentralinoError, ConflictError, InvalidError
from appliance.i18n import _
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.store import Store

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def author() -> str:
    """Who is asking: the person behind sudo, if any."""
    return os.environ.get("CENTRALINO_AUTHOR") or os.environ.get("SUDO_USER") or getpass.getuser()


@contextmanager
def store() -> Iterator[Store]:
    """The document store of this installation."""
    from appliance.store import Store

    with Store.default(Paths.default()) as opened:
        yield opened


def print_json(value: Any) -> None:
    """A result for programs: one JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str))  # noqa: T201


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A result for people; ``empty`` says what to do when there is nothing to show."""
    rows = [[escape(cell) for cell in row] for row in rows]
    if not rows:
        out.print(empty)
        return
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def print_error(error: CentralinoError) -> None:
    """One line with a hint; every fault of an invalid document on a line of its own."""
    if isinstance(error, InvalidError):
        for fault in error.faults:
            hint = f" [dim]({escape(fault.hint)})[/]" if fault.hint else ""
            err.print(f"[red]{_('error')}[/] {escape(fault.path)}: {escape(fault.message)}{hint}")
        return
    hint = f" [dim]({escape(error.hint)})[/]" if error.hint else ""
    err.print(f"[red]{_('error')}[/] {escape(error.message)}{hint}")
    if isinstance(error, ConflictError):
        for path in error.changed:
            err.print(f"      {escape(path)}")


def plain(value: Any) -> str:
    """A field's value in one short line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or "–"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={plain(item)}" for key, item in value.items())
    return str(value)
