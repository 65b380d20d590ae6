"""Whether a call's own texts may have a part, in the database's words: far fewer calls then have to be read and compared whole."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Text, exists, literal, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from appliance.history.labels import Kind, folded
from appliance.store import history as table

_ESCAPED: Final = frozenset('"\\')


class _HasPart(FunctionElement[bool]):
    """Whether a text has a part, case aside, or a character beyond ASCII, whose folding is not the database's to judge."""

    inherit_cache = True


@compiles(_HasPart, "sqlite")
def _sqlite(element: _HasPart, compiler: Any, **options: Any) -> str:
    column, part = (compiler.process(each, **options) for each in element.clauses)
    return f"(instr(lower({column}), {part}) > 0 OR length(CAST({column} AS BLOB)) > length({column}))"


@compiles(_HasPart, "postgresql")
def _postgresql(element: _HasPart, compiler: Any, **options: Any) -> str:
    column, part = (compiler.process(each, **options) for each in element.clauses)
    return f'(strpos(lower({column} COLLATE "C"), {part}) > 0 OR octet_length({column}) > char_length({column}))'


def has_text(kinds: tuple[Kind, ...], text: str) -> ColumnElement[bool]:
    """A condition on table ``call`` that every call meets of which a label of these kinds (names, or numbers and extensions) has the
    text as a part; also some others."""
    wanted = folded(text)
    call, leg = table.call.c, table.leg.c

    def has(column: ColumnElement[str]) -> ColumnElement[bool]:
        return _HasPart(column, literal(wanted, Text))

    if kinds == (Kind.NAME,):
        return has(call.from_name)
    plain = not any(each in _ESCAPED or not each.isprintable() for each in wanted)  # else it looks otherwise in JSON
    of_transfers = call.transfers != "[]"
    if plain:
        of_transfers = of_transfers & or_(has(call.transfers), call.transfers.contains("\\", autoescape=True))
    columns = (call.from_number, call.dialled, call.reached_number, call.from_extension, call.reached_extension)
    of_legs = exists().where(leg.call == call.id, or_(has(leg.number), has(leg.extension))).correlate(table.call)
    return or_(*(has(column) for column in columns), of_transfers, of_legs)
