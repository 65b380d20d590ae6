"""verify() of anything that passes the models: it answers, never raises, and every fault can be found and mended."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from appliance.core.document import Document, parse
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


def test_everything_wrong_is_told_at_once() -> None:
    rows = [
        ("company", {"id": "demo", "name": "Demo"}),
        ("site", {"id": "hq", "name": "HQ", "company": "demo"}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "200", "last": "299"}]}),
        ("extension", {"id": "one", "number": "201", "site": "hq"}),
        ("extension", {"id": "other", "number": "201", "site": "hq"}),
        ("device", {"id": "phone", "extension": "gone", "secret": "gone"}),
        ("ring_group", {"id": "a", "name": "A", "site": "hq", "members": [{"extension": "one"}],
                        "no_answer": {"type": "ring_group", "ring_group": "b"}}),
        ("ring_group", {"id": "b", "name": "B", "site": "hq", "members": [{"extension": "one"}],
                        "no_answer": {"type": "ring_group", "ring_group": "a"}}),
    ]  # fmt: skip
    paths = {fault.path for fault in verify(Document.of(parse(KINDS, kind, data) for kind, data in rows))}
    assert {"device/phone/extension", "device/phone/secret"} <= paths, "references"
    assert "extension/other/number" in paths, "numbers used twice"
    assert any(path.startswith("ring_group/") and "no_answer" in path for path in paths), "loops"
