"""The audit: append-only, chained, complete; and the tables as their migration makes them."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from appliance.access.audit import START
from appliance.core.errors import CentralinoError, InvalidError
from appliance.store import access as table
from tests.unit.access.ground import Ground


@pytest.fixture
def filled(ground: Ground) -> Ground:
    ground.with_totp()
    ground.enter("bob")
    return ground


def without_guards(ground: Ground) -> None:
    """As somebody does who may do anything to the database."""
    sqlite = ground.access.database.engine.dialect.name == "sqlite"
    guards = ["audit_no_update", "audit_no_delete"] if sqlite else ["audit_append_only ON audit"]
    with ground.access.database.write() as connection:
        for guard in guards:
            connection.execute(text(f"DROP TRIGGER {guard}"))


def test_the_migration_makes_the_tables_as_they_are_declared(ground: Ground) -> None:
    with ground.access.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": table.VERSION_TABLE})
        assert compare_metadata(context, table.metadata) == []


def test_entries_are_chained_from_the_first_on(filled: Ground) -> None:
    chain = filled.access.audit.verify()
    assert (chain.number, chain.broken) == (len(filled.events()), None)
    assert chain.hash != START
    assert filled.events()[0] == ("link_made", "ann")
    first = filled.access.audit.entries(limit=1000)[-1]
    assert (first.number, first.author, first.time) == (1, "tester", filled.clock.wall - 30_000)
    page = filled.access.audit.entries(limit=2)
    assert [entry.number for entry in page] == [chain.number, chain.number - 1]
    assert filled.access.audit.entries(limit=1, before=page[-1].number)[0].number == chain.number - 2
    assert {entry.person for entry in filled.access.audit.entries(person="bob")} == {"bob"}
    with pytest.raises(InvalidError, match="audit/limit"):
        filled.access.audit.entries(limit=0)


def test_an_empty_audit_is_whole(ground: Ground) -> None:
    assert ground.access.audit.verify().number == 0


@pytest.mark.parametrize("statement", ["UPDATE audit SET person = 'x'", "DELETE FROM audit WHERE number = 2"])
def test_the_database_refuses_to_change_entries(filled: Ground, statement: str) -> None:
    with pytest.raises(CentralinoError, match="append-only"), filled.access.database.write() as connection:
        connection.execute(text(statement))
    assert filled.access.audit.verify().broken is None


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET person = 'bob' WHERE number = 3", 3),
        ("UPDATE audit SET detail = '{\"a\": 1}' WHERE number = 3", 3),
        ("UPDATE audit SET detail = 'garbage' WHERE number = 3", 3),
        ("UPDATE audit SET time = time + 1 WHERE number = 1", 1),
        ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = 2) WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number > 4", 5),
        ("DELETE FROM audit", 1),
        ("DELETE FROM audit_head", 10),
        ("UPDATE audit SET number = 100 WHERE number = 4", 4),
        (
            "INSERT INTO audit SELECT 10, time, event, person, author, address, detail, hash FROM audit WHERE number = 9",
            10,
        ),
    ],
)
def test_any_other_change_is_found(filled: Ground, statement: str, broken: int) -> None:
    assert filled.access.audit.verify().number == 9
    without_guards(filled)
    heads: list[Any] = []
    with filled.access.database.write() as connection:
        rows = [dict(row._mapping) for row in connection.execute(table.audit.select())]
        heads = [dict(row._mapping) for row in connection.execute(table.audit_head.select())]
        connection.execute(text(statement.replace(":", "\\:")))
    assert filled.access.audit.verify().broken == broken
    with filled.access.database.write() as connection:  # put back, for it must be whole at the end
        for each, content in ((table.audit, rows), (table.audit_head, heads)):
            connection.execute(each.delete())
            connection.execute(each.insert(), content)
