"""verify() of anything that passes the models: it answers, never raises, and every fault can be found and mended."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from appliance.core.document import Document
from appliance.kinds import KINDS
from appliance.verify import check, verify
from tests import strategies

SLOW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def test_strategies_know_every_kind() -> None:
    assert set(strategies.ROWS) == set(KINDS)


@SLOW
@given(strategies.documents())
def test_any_document_is_judged(document: Document) -> None:
    judge(document)


@SLOW
@given(strategies.documents(complete=True))
def test_any_document_without_dangling_references_is_judged(document: Document) -> None:
    judge(document)
    assert not [fault for fault in check(document) if fault.error_id == "dangling_reference"]


def judge(document: Document) -> None:
    faults = check(document)
    assert [fault for fault in faults if fault.severity == "error"] == list(verify(document))
    assert len(set(faults)) == len(faults), "a fault is told twice"
    for fault in faults:
        kind, _, rest = fault.path.partition("/")
        assert kind in KINDS
        assert not rest or rest.split("/")[0] in document.objects[kind]
        assert fault.message
        assert fault.hint
        assert "\n" not in fault.message + fault.hint
