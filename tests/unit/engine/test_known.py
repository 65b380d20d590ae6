"""The engine's log: what is trouble, and what is known to be none."""

from appliance.engine.known import KNOWN, troubles

STAMP = "[2026-01-01 10:00:00.000]"


def test_errors_and_warnings_are_troubles_unless_known() -> None:
    bad = f"{STAMP} ERROR[12] res_pjsip.c: something broke"
    known = f"{STAMP} WARNING[7] taskprocessor.c: Taskprocessor 'stasis/m:devicestate:all-00000008' queue reached 500 scheduled tasks"
    other = (
        f"{STAMP} WARNING[7] taskprocessor.c: Taskprocessor 'pjsip/default-00000008' queue reached 500 scheduled tasks"
    )
    starting = (
        f'{STAMP} WARNING[30] pjproject: sip_endpoint.c Warning: Module "PubSub Module" registered during operation.'
    )
    fine = f"{STAMP} NOTICE[7] pbx.c: all is well, no ERROR here"
    assert troubles([bad, known, other, starting, fine]) == [bad, other]


def test_every_known_line_has_its_reason() -> None:
    assert all(len(reason) > 20 for reason in KNOWN.values())
