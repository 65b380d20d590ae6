"""A centre serves edges of two releases before: what those say and understand is kept in tests/data, and never changes.

``edges/format-N.json``   the whole talk of an edge whose newest slices are of format N: what it says, and what of the answers it goes by
``slices/words-N.txt``    words of OpenVPN that such an edge takes
``slices/format-N.json``  a slice as it is written for it: see test_slices.py
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.edge.centre import Centre
from appliance.edge.identity import RENEWAL
from appliance.vpn.inside.http import Answer, Request
from appliance.vpn.inside.reports import Report, Standing, Way
from appliance.vpn.inside.service import Inside
from appliance.vpn.model import Concentrator
from appliance.vpn.pki import Purpose, timekeeping, verified
from appliance.vpn.plan import end_lines
from appliance.vpn.slices import FORMATS, NEWEST, Slice, formats, opened, write
from appliance.vpn.slices.model import WORDS
from tests.unit.edge.slices import a_slice
from tests.unit.vpn.ground import csr
from tests.unit.vpn.test_inside import Place, centre, current

DATA = Path(__file__).parents[2] / "data"
AGE = timedelta(days=250)
"""How long ago the edge was enrolled: its certificate is due."""
NONCE, DIGEST = "0123456789abcdef" * 2, "f" * 32


@pytest.fixture(autouse=True)
def _long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping, "RELEASED", timekeeping.RELEASED - 2 * timekeeping.YEAR)


def run(tmp_path: Path, test: Callable[[Place], Awaitable[None]]) -> None:
    async def inner() -> None:
        async with centre(tmp_path, -AGE) as place:
            place.bans["milan"] = b'{"format":1,"bans":[]}'
            await test(place)

    asyncio.run(inner())


def talk(format: int) -> list[dict[str, Any]]:
    return list(json.loads((DATA / f"edges/format-{format}.json").read_bytes()))


def as_kept(request: Request, answer: Answer) -> dict[str, Any]:
    """One question and its answer, without what is another each time."""
    query, body = dict(request.query), request.body.decode()
    if "nonce" in query:
        query["nonce"] = NONCE
    if request.path == "/renew":
        body = "CSR"
    if request.path == "/applied":
        body = json.dumps({**json.loads(body), "digest": DIGEST, "version": "1.0"})
    etag = request.etag if request.etag in (None, "") else DIGEST
    says = {"method": request.method, "path": request.path, "query": query, "etag": etag, "body": body}
    return {"says": says, "hears": {"status": answer.status, "fields": sorted(json.loads(answer.body or b"{}"))}}


def test_what_an_edge_of_this_release_says_is_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, Any]] = []
    answer = Inside.answer

    async def listening(self: Inside, request: Request) -> Answer:
        said = await answer(self, request)
        heard.append(as_kept(request, said))
        return said

    monkeypatch.setattr(Inside, "answer", listening)

    async def test(place: Place) -> None:
        identity = place.edge(tmp_path / "milan")
        state = current(identity)
        place.skew[0] = timedelta()
        async with Centre(state) as asked:
            await asked.slice("", 0)
            await asked.slice(state.slice.digest, 0)
            await asked.time()
            for standing, way, why in (
                (Standing.TRIAL, None, ""), (Standing.CONFIRMED, Way(host="vpn.example.com", port=1194), ""),
                (Standing.ROLLED_BACK, None, "the centre wasn't reached through it in time"),
            ):  # fmt: skip
                report = Report(
                    digest=state.slice.digest, revision=7, standing=standing, way=way, why=why, formats=FORMATS
                )
                await asked.report(report)
            await asked.bans("")
            await asked.renew(identity.prepare(RENEWAL))

    run(tmp_path, test)
    assert heard == talk(max(FORMATS))


@pytest.mark.parametrize("format", sorted(formats.WRITERS))
def test_edges_of_every_kept_format_are_answered_as_ever(tmp_path: Path, format: int) -> None:
    async def test(place: Place) -> None:
        state = current(place.edge(tmp_path / "milan"))
        place.skew[0] = timedelta()
        peer = state.certificate.public_bytes(Encoding.DER)
        for each in talk(format):
            says = each["says"]
            etag = state.slice.digest if says["etag"] == DIGEST else says["etag"]
            body = csr() if says["body"] == "CSR" else says["body"].encode()
            answer = await place.inside.answer(Request(says["method"], says["path"], says["query"], etag, body, peer))
            assert answer.status == each["hears"]["status"], (says, answer.body)
            assert set(each["hears"]["fields"]) <= json.loads(answer.body or b"{}").keys(), says

    run(tmp_path, test)


def newer(slice: Slice) -> dict[str, Any]:
    return {"site": slice.site, "said": "in another way"}


def test_a_centre_two_releases_ahead_writes_as_this_release_s_edge_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ahead in (NEWEST + 1, NEWEST + 2):
        monkeypatch.setitem(formats.WRITERS, ahead, newer)  # type: ignore[arg-type]

    async def test(place: Place) -> None:
        state = current(place.edge(tmp_path / "milan"))
        place.skew[0] = timedelta()
        async with Centre(state) as asked:
            content = await asked.slice("", 0)
        assert content is not None
        assert opened(content, state.root) == state.slice
        request = Request("GET", "/slice", {"formats": f"{NEWEST},{NEWEST + 1}"}, "", b"", b"")
        answer = await place.inside.answer(replace(request, peer=state.certificate.public_bytes(Encoding.DER)))
        told = json.loads(verified(answer.body, Purpose.SLICE, state.root))
        assert (told["format"], told["said"]) == (NEWEST + 1, "in another way")

    run(tmp_path, test)


def test_every_format_says_only_words_that_its_edges_take() -> None:
    kept = {each: set((DATA / f"slices/words-{each}.txt").read_text().split()) for each in formats.WRITERS}
    assert kept[NEWEST] == WORDS, "another word makes another format: edges of the former refuse it"
    end = {"id": "vpn", "name": "VPN", "addresses": [{"host": "198.51.100.7"}]}
    lines = end_lines(Concentrator.model_validate(end))
    for format, words in kept.items():
        written = json.loads(write(a_slice(openvpn=lines), format))
        assert {line.split(" ")[0] for line in written["openvpn"]} <= words
        assert written["openvpn"]
