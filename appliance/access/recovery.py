"""Recovery codes: ten, each good once in the place of a second factor that isn't at hand.

80 random bits each, so a fast hash is enough to keep. A code is used up by deleting its row: of two who use it at once,
one deletes it.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from appliance.access.texts import hashed, new_id
from appliance.store.access import recovery_code as table

COUNT: Final = 10
_BITS: Final = 80
_GROUP: Final = 4


def looks_like(code: str) -> bool:
    """Whether it has the form of one; hyphens, spaces and capitals don't matter."""
    return re.fullmatch(r"[a-z2-7]{16}", _plain(code)) is not None


def make(connection: Connection, person: str) -> tuple[str, ...]:
    """Ten new ones, to be shown once; those before are void."""
    codes = [new_id(_BITS) for _ in range(COUNT)]
    remove(connection, person)
    connection.execute(insert(table), [{"person": person, "hash": _hash(person, code)} for code in codes])
    return tuple("-".join(re.findall(f".{{{_GROUP}}}", code)) for code in codes)


def use(connection: Connection, person: str, code: str) -> bool:
    """Whether it is one of the person's; it isn't any more."""
    if not looks_like(code):
        return False
    which = (table.c.person == person) & (table.c.hash == _hash(person, _plain(code)))
    return connection.execute(delete(table).where(which)).rowcount == 1


def left(connection: Connection, person: str) -> int:
    """How many the person has."""
    query = select(func.count()).select_from(table).where(table.c.person == person)
    return int(connection.execute(query).scalar_one())


def remove(connection: Connection, person: str) -> None:
    """Void them all."""
    connection.execute(delete(table).where(table.c.person == person))


def _plain(code: str) -> str:
    return re.sub(r"[\s-]", "", code[:64]).casefold()


def _hash(person: str, code: str) -> str:
    return hashed(f"recovery {person} {code}")
