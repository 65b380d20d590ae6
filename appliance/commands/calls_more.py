"""``centralino calls statistics``, ``export`` and ``rebuild-statistics``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.progress import Progress

from appliance.commands.calls_filter import (
    Device,
    ExtensionNumber,
    Jitter,
    LinkedId,
    Loss,
    Name,
    Number,
    NumberPart,
    OfDirection,
    OfOutcome,
    Prefix,
    Rang,
    Since,
    Site,
    Talked,
    Trunk,
    Until,
    Zone,
    begin,
    machine_zone,
    wanted,
)  # fmt: skip
from appliance.commands.calls_text import clock
from appliance.commands.common import Json, err, history, out, print_json, print_table
from appliance.core.errors import Fault, InvalidError, UnavailableError
from appliance.history.periods import By
from appliance.history.plain import plain_figures
from appliance.i18n import _

if TYPE_CHECKING:
    from appliance.history.hours import Figures


def add_to(sub: typer.Typer) -> None:
    """Add the verbs to ``centralino calls``."""
    sub.command("statistics", help=_("Volumes, answer rates, durations and waiting times"))(statistics)
    sub.command("export", help=_("All calls found, as CSV"))(export)
    sub.command("rebuild-statistics", help=_("Add the statistics up again from the calls"))(rebuild)


def statistics(
    by: Annotated[By, typer.Option(help=_("What the rows are"))] = By.DAY,
    since: Since = None,
    until: Until = None,
    zone: Zone = None,
    direction: OfDirection = None,
    site: Site = "",
    trunk: Trunk = "",
    extension: ExtensionNumber = "",
    json: Json = False,
) -> None:
    """Statistics of the last 30 days, or of the time given."""
    from appliance.history.statistics import Wanted

    now = datetime.now(UTC)
    asked = Wanted(
        begin(since, "--since") if since else now - timedelta(days=30),
        begin(until, "--until") if until else now,
        zone or machine_zone(),
        by,
        direction,
        site,
        trunk,
        extension,
    )
    with history() as opened:
        found = opened.statistics(asked)
    if json:
        rows = [{"key": key, **plain_figures(figures)} for key, figures in found.rows.items()]
        print_json({"by": by.value, "zone": asked.zone, "rows": rows, "total": plain_figures(found.total)})
        return
    columns = (heading(by), _("calls"), _("answered"), "%", _("busy"), _("missed"), _("failed"),
               _("talked for"), _("mean"), _("waited"))  # fmt: skip
    shown = [[key, *row(figures)] for key, figures in found.rows.items()]
    print_table(_("Statistics"), columns, [*shown, [_("all"), *row(found.total)]], empty="")


def row(figures: Figures) -> list[str]:
    """Figures for people."""
    rate, mean, waited = figures.answer_rate, figures.mean_talk_ms, figures.mean_wait_ms
    return [
        str(figures.calls), str(figures.answered), "–" if rate is None else f"{100 * rate:.1f}", str(figures.busy),
        str(figures.no_answer + figures.cancelled), str(figures.failed), clock(figures.talk_ms),
        "–" if mean is None else clock(round(mean)), "–" if waited is None else clock(round(waited)),
    ]  # fmt: skip


def heading(by: By) -> str:
    """What the rows are, in a word."""
    return {
        By.TOTAL: "",
        By.SITE: _("site"),
        By.TRUNK: _("trunk"),
        By.EXTENSION: _("extension"),
        By.HOUR: _("hour"),
        By.WEEKDAY: _("weekday (1: Monday)"),
        By.DAY: _("day"),
        By.MONTH: _("month"),
    }[by]


def export(
    file: Annotated[str, typer.Argument(help=_("Where to; - is standard output"))],
    since: Since = None, until: Until = None, number: Number = "", prefix: Prefix = "", number_part: NumberPart = "",
    name: Name = "", extension: ExtensionNumber = "", device: Device = "", trunk: Trunk = "", site: Site = "",
    direction: OfDirection = None, outcome: OfOutcome = None, talked: Talked = "", rang: Rang = "", loss: Loss = "",
    jitter: Jitter = "", linked_id: LinkedId = "", zone: Zone = None,
    bom: Annotated[bool, typer.Option("--bom", help=_("Begin with a mark by which spreadsheets know UTF-8"))] = False,
    separator: Annotated[str, typer.Option(help=_("Between cells: , or ;"))] = ",",
) -> None:  # fmt: skip
    """All calls found, newest first, as CSV (RFC 4180)."""
    from appliance.history.export import Format, rows

    asked = wanted(
        since, until, number, prefix, number_part, name, extension, device, trunk, site, direction, outcome, talked, rang,
        loss, jitter, linked_id,
    )  # fmt: skip
    with history() as opened:
        pieces = rows(opened, asked, Format(zone or machine_zone(), bom, separator))
        with written(file) as target:
            for piece in pieces:
                target.write(piece)


@contextmanager
def written(file: str) -> Iterator[TextIO]:
    """The file to write: whole, or not there at all. One that is there already is not touched. It has the calls of others: only
    its owner reads it."""
    if file == "-":
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        yield sys.stdout
        return
    path = Path(file)
    try:
        path.touch(mode=0o600, exist_ok=False)
        with _kept_if_whole(path), path.open("w", encoding="utf-8", newline="") as target:
            yield target
    except FileExistsError:
        hint = _("another name, or remove it first")
        raise InvalidError([Fault("FILE", _("is there already"), hint, "exists")]) from None
    except OSError as error:
        raise UnavailableError(f"{file}: {error.strerror}", "check the directory, its owner and the disk") from error


@contextmanager
def _kept_if_whole(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def rebuild() -> None:
    """The statistics, added up again."""
    from appliance.history.statistics import rebuild as again

    with history() as opened, Progress(console=err, transient=True) as progress:
        task = progress.add_task(_("adding up"), total=None)
        calls = again(opened.database, lambda done, whole: progress.update(task, completed=done, total=whole))
    out.print(_("{number} calls were added up.").format(number=calls))
