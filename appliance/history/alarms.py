"""Alarms: rows that last until they are cleared, with a notice of each; and a line in the log, whatever the disk says."""

from __future__ import annotations

import logging
import time

from sqlalchemy import insert, select, update

from appliance.core.errors import UnavailableError
from appliance.history import outbox
from appliance.history.notice import ALARM_CLEARED, ALARM_RAISED, Notice
from appliance.store import history as table
from appliance.store.database import Database

_log = logging.getLogger("centralino.alarms")


class Alarms:
    """Raises and clears alarms. Each code is one process's: they don't look at one another's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unsaved: dict[str, tuple[str, str, int]] = {}
        with database.read() as connection:
            query = select(table.alarm.c.code).where(table.alarm.c.cleared.is_(None))
            self._raised = set(connection.execute(query).scalars())

    @property
    def raised(self) -> frozenset[str]:
        """Codes of all that last, whoever raised them."""
        return frozenset(self._raised)

    def set(self, code: str, severity: str, message: str, active: bool) -> None:
        """Raise the alarm if it is active and wasn't, clear it if it isn't and was."""
        if active and code not in self._raised:
            self._raised.add(code)
            self._unsaved[code] = (severity, message, _now())
            _log.log(logging.CRITICAL if severity == "critical" else logging.WARNING, "alarm %s: %s", code, message)
        self.save()
        if not active and code in self._raised and code not in self._unsaved:
            self._clear(code)
            self._raised.discard(code)
            _log.warning("alarm %s is over", code)

    def save(self) -> None:
        """Write what couldn't be written when it was raised: perhaps it was the database's disk that was full."""
        for code, (severity, message, raised) in list(self._unsaved.items()):
            row = {"code": code, "severity": severity, "message": message, "raised": raised}
            facts = {"alarm": code, "severity": severity, "message": message, "raised": raised}
            try:
                with self._database.write() as connection:
                    connection.execute(insert(table.alarm), [row])
                    outbox.put(connection, [Notice(ALARM_RAISED, f"alarm:{code}", raised, facts)])
            except UnavailableError as error:
                _log.error("alarm %s can't be stored now: %s", code, error)
                return
            del self._unsaved[code]

    def _clear(self, code: str) -> None:
        now, t = _now(), table.alarm.c
        lasting = (t.code == code) & t.cleared.is_(None)
        with self._database.write() as connection:
            row = connection.execute(select(table.alarm).where(lasting).order_by(t.id)).first()
            connection.execute(update(table.alarm).where(lasting).values(cleared=now))
            if row is not None:
                facts = {
                    "alarm": code, "severity": row.severity, "message": row.message, "raised": row.raised, "cleared": now,
                }  # fmt: skip
                outbox.put(connection, [Notice(ALARM_CLEARED, f"alarm:{code}", now, facts)])


def _now() -> int:
    return time.time_ns() // 1_000_000
