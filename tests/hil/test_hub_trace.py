"""Events and snapshots of the real engine tell the same: recorded during all kinds of calls, compared in the middle.

``HUB_TRACE=tests/data/hub/trace.json.gz`` keeps what was recorded for the property test in tests/unit/hub.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.hil.agents.process import eventually
from tests.hil.company import MAIN, PBX_OUTSIDE, Company, open_company, rows
from tests.hil.hub_recorder import recording
from tests.unit.hub import traces


def calls_of_all_kinds(company: Company) -> None:
    one, two, three, far = (company.phone(device) for device in ("201-1", "202-1", "203-1", "206-1"))
    # The plain call that bench/hub.py plays again and again.
    call = one.call("202").ringing()
    incoming = two.incoming().answer()
    call.established()
    call.hangup()
    incoming.closed()
    company.quiet()
    # Held by either side, then transferred blind.
    call = one.call("202").ringing()
    incoming = two.incoming().answer()
    call.established()
    incoming.hold()
    call._talks()
    incoming.resume()
    call.hold()
    call.resume()
    incoming.transfer("203")
    third = three.incoming().answer()
    third.hangup()
    company.quiet()
    # An attended transfer, of a call that is held.
    call = one.call("202").ringing()
    incoming = two.incoming().answer()
    call.established()
    incoming.hold()
    consultation = two.call("203").ringing()
    third = three.incoming().answer()
    consultation.established()
    incoming.transfer_to(consultation)
    incoming.closed()
    third.hangup()
    company.quiet()
    # Groups: at once; and with members that ring later, and through a thin link.
    call = one.call("400").ringing()
    two.incoming()
    late = three.incoming().answer()
    call.established()
    late.hangup()
    company.quiet()
    for answers in (three, far):
        call = one.call("401").ringing()
        ringing = {phone: phone.incoming() for phone in (two, three, far)}
        ringing[answers].answer()
        call.established()
        call.hangup()
        company.quiet()
    # To and from outside, emergency, services, nobody answers, busy.
    company.line.does((0, "180 Ringing"), (0.3, "200 OK"))
    one.call("00200000999").established().hangup()
    one.call("112").established().hangup()
    company.quiet()
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(company.line.call, MAIN, "+390200000777", PBX_OUTSIDE)
        incoming = one.incoming().answer()
        dialog = calling.result(20)
    incoming.transfer("202")
    taken = two.incoming().answer()
    taken.hold()
    taken.resume()
    company.line.hangup(dialog)
    taken.closed()
    company.quiet()
    one.call("*78").established().closed(20)
    one.call("*43").established().hangup()
    one.call("*79").established().closed(20)
    call = one.call("202").ringing()
    incoming = two.incoming()
    call.hangup()
    incoming.closed()
    company.quiet()
    call = one.call("202").ringing()
    two.incoming().reject()
    call.closed()
    company.quiet()


def test_events_and_snapshots_tell_the_same(tmp_path: Path) -> None:
    with (
        open_company(tmp_path, rows(more=traces.BRANCH)) as company,
        recording(company.system, traces.company_directory()) as trace,
    ):
        calls_of_all_kinds(company)
        eventually(lambda: traces.snapshots(trace)[-1] in traces.settled(trace), "it has settled", 20, 0.3)
    if place := os.environ.get("HUB_TRACE"):
        traces.write(trace, Path(place))
    known = traces.followed(trace)
    settled = traces.settled(trace)
    print(f"{len(trace)} items, {len(traces.snapshots(trace))} snapshots, {len(settled)} settled")  # noqa: T201
    assert len(settled) >= 5
    for index in settled:
        state, memory = known[index]
        assert traces.differences(state, traces.state(traces.begun(trace[index], memory))) == []
