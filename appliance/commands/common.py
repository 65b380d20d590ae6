"""What every command shares: where things are, who is asking, how results and errors look."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.core.errors import CentralinoError, ConflictError, Fault, InvalidError
from appliance.i18n import _, translated
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.history.service import History
    from appliance.store import Store

Json = Annotated[bool, typer.Option("--json", help=_("For programs"))]

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


@contextmanager
def history() -> Iterator[History]:
    """The history of this installation."""
    from appliance.history.service import History
    from appliance.store.history import open_history

    database = open_history(paths=Paths.default())
    try:
        yield History(database)
    finally:
        database.close()


def print_json(value: Any) -> None:
    """A result for programs: one JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str))  # noqa: T201


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, header: bool = True
) -> None:
    """A result for people; ``empty`` says what to do when there is nothing to show. Long cells are folded, not cut."""
    rows = [[escape(cell) for cell in row] for row in rows]
    if not rows:
        out.print(empty)
        return
    out.print(f"[bold]{escape(title)}[/]")  # a table's own title would be folded to the table's width
    table = Table(box=None, header_style="dim", pad_edge=False, show_header=header)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A console that doesn't wrap (see above) would cut a table's last columns off instead of folding them.
    out.print(table, soft_wrap=False, crop=False, no_wrap=False)


def print_error(error: CentralinoError, *, json: bool = False) -> None:
    """One line with a hint; every fault of an invalid document on a line of its own. For programs, one JSON document in
    the place of the result."""
    if json:
        print_json({"error": error_json(error)})
        return
    if isinstance(error, InvalidError):
        for fault in error.faults:
            print_fault(fault)
        return
    hint = f" [dim]({escape(translated(error.hint))})[/]" if error.hint else ""
    err.print(f"[red]{_('error')}[/] {escape(one_line(translated(error.message)))}{hint}")
    if isinstance(error, ConflictError):
        for path in error.changed:
            if path not in error.message:
                err.print(f"      {escape(path)}")


def error_json(error: CentralinoError) -> dict[str, Any]:
    """An error as plain data; ``id`` is stable, the texts are for people."""
    faults = error.faults if isinstance(error, InvalidError) else ()
    return {
        "id": error.error_id,
        "message": translated(error.message),
        "hint": translated(error.hint),
        "faults": [asdict(fault) for fault in faults],
        **({"changed": list(error.changed)} if isinstance(error, ConflictError) else {}),
    }


def print_fault(fault: Fault) -> None:
    """One fault, or one warning, in one line."""
    word = f"[yellow]{_('warning')}[/]" if fault.severity == "warning" else f"[red]{_('error')}[/]"
    line = _("line {number}, ").format(number=fault.line) if fault.line else ""
    hint = f" [dim]({escape(translated(fault.hint))})[/]" if fault.hint else ""
    err.print(f"{word} {line}{escape(fault.path)}: {escape(one_line(translated(fault.message)))}{hint}")


def program() -> Path:
    """Where this command lies, for who is to start it."""
    beside = Path(sys.executable).with_name("centralino")
    return beside if beside.exists() else Path(shutil.which("centralino") or sys.argv[0]).absolute()


def one_line(text: str) -> str:
    """Text of elsewhere (an engine, a database) without its line ends."""
    return " ".join(text.split("\n"))


def local_time(utc: str) -> str:
    """A time of a revision (UTC, RFC 3339) in the machine's time zone, to the second."""
    return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


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
