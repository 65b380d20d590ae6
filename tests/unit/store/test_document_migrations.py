"""The mechanism of document formats. There is one format so far: its steps are the test's own."""

from __future__ import annotations

import pytest

from appliance.core.errors import CorruptError
from appliance.store.migrations.document import Plain, migrate, newest_format


def upper(document: Plain) -> Plain:
    return {
        kind: {id: fields | {"name": fields["name"].upper()} for id, fields in of.items()}
        for kind, of in document.items()
    }


def renamed(document: Plain) -> Plain:
    return {{"firm": "company"}.get(kind, kind): objects for kind, objects in document.items()}


def test_steps_run_in_order_from_the_documents_own_format() -> None:
    old: Plain = {"firm": {"demo": {"name": "Demo"}}}
    assert migrate(old, 1, [upper, renamed]) == {"company": {"demo": {"name": "DEMO"}}}
    assert migrate(old, 2, [upper, renamed]) == {"company": {"demo": {"name": "Demo"}}}
    assert migrate(old, 3, [upper, renamed]) == old


@pytest.mark.parametrize("format", [0, -1, newest_format() + 1])
def test_unknown_formats_are_refused(format: int) -> None:
    with pytest.raises(CorruptError) as caught:
        migrate({}, format)
    assert caught.value.error_id == "too_new"
