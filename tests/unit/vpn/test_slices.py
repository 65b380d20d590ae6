"""Slices: equal documents give equal bytes, older formats stay byte for byte, and nobody but our signer is believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.applier.plan import build
from appliance.core.document import Document
from appliance.core.errors import CorruptError, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.core.plan import Effect, WriteFile
from appliance.vpn.pki import Purpose, Role, certificates, chains, verified
from appliance.vpn.pki.signing import Signer
from appliance.vpn.slices import FORMATS, NEWEST, Slice, Slices, common, known, opened, plan, read, signed, write
from appliance.vpn.slices.formats import KEPT, READERS, WRITERS
from appliance.vpn.verify import verify
from tests import strategies
from tests.unit.edge.slices import a_slice
from tests.unit.vpn.ground import Ground
from tests.unit.vpn.test_vpn_plan import TWO, Row, document, many, site
from tests.unit.vpn.test_vpn_plan import concentrator as a_concentrator

PATHS = [
    {"number": 0, "role": "primary", "device": "wan", "host": "vpn.example.com", "port": 1170, "monthly_gb": None},
    {"number": 4, "role": "metered", "device": "wwan0", "host": "vpn.example.com", "port": 1170, "monthly_gb": 20},
]
LINKS = [
    {"number": 1, "device": "wan", "access": {"type": "dhcp"}},
    {
        "number": 2,
        "device": "wwan0",
        "access": {"type": "static", "addresses": ["198.51.100.2/30"], "gateways": ["198.51.100.1"]},
    },
]
GOLDEN = Path(__file__).parents[2] / "data" / "slices"


def test_a_slice_says_what_its_branch_needs_and_nothing_of_others() -> None:
    torino = plan.plan(document(*TWO), "torino", 4, 12)
    assert torino is not None
    assert torino.revision == 12
    assert [(each.host, each.port) for each in torino.remotes] == [("vpn.example.com", 1194), ("198.51.100.7", 5000)]
    assert torino.networks == ("10.3.0.0/24", "2001:db8:3::/64")
    assert (torino.inside, torino.inside_port) == (("172.29.0.1", "fd00:1:2:3::1"), 8194)
    assert not {"10.4.0.0/24", "roma"} & set(json.dumps(torino.model_dump()).split('"'))
    assert plan.plan(document(*TWO), "nowhere", 4) is None
    assert plan.plan(document(*TWO[1:]), "torino", 4) is None


def test_its_service_is_at_the_branch_s_own_daemon() -> None:
    found = many(500)
    seventh = plan.plan(found, "s7", 4)
    assert seventh is not None
    assert seventh.inside == ("172.29.32.1",)
    assert seventh.remotes[0].port == 1196


def test_the_revision_alone_makes_no_other_slice() -> None:
    one, later = a_slice(), a_slice(revision=8)
    assert one != later
    assert one.digest == later.digest
    assert one.digest != a_slice(networks=["10.3.0.0/24"]).digest


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(strategies.documents(complete=True))
def test_whatever_verify_lets_pass_gives_slices_that_an_edge_reads(made: Document) -> None:
    if not [fault for fault in verify(made) if fault.severity == "error"]:
        files = plan.files(made, 2)
        assert plan.files(made, 2) == files
        for name, text in files.items():
            site = name.removeprefix(plan.FOLDER).removesuffix(".json")
            assert read(text.encode()) == plan.plan(made, site, 2)


def test_every_format_that_is_kept_is_written_byte_for_byte_as_it_was() -> None:
    assert sorted(WRITERS) == list(range(max(1, NEWEST - KEPT), NEWEST + 1))
    assert NEWEST in READERS
    protected, switched = (a_slice(paths=PATHS, copies=copies) for copies in ("calls", "never"))
    for format in WRITERS:
        golden = (GOLDEN / f"format-{format}.json").read_bytes()
        assert write(protected, format) == golden
        if format in READERS:
            assert read(golden) == known(protected, format)
    assert known(protected, 1) == a_slice()
    assert known(protected, NEWEST) == known(protected, 2) == protected
    # One line at a time: nearest to it, for an edge that doesn't know it, is to copy while the best line is weak.
    assert known(switched, NEWEST) == switched == read(write(switched, NEWEST))
    assert read(write(switched, 2)) == known(switched, 2) == a_slice(paths=PATHS, copies="degraded")
    with pytest.raises(InvalidError, match="a way of copying that its format hasn't"):
        read(json.dumps({**json.loads(write(switched, NEWEST)), "format": 2}).encode())
    # Lines whose interfaces the edge sets up: one that can't leaves them as they are.
    linked = a_slice(paths=PATHS, copies="calls", links=LINKS)
    assert linked.digest != protected.digest
    assert known(linked, NEWEST) == linked == read(write(linked, NEWEST))
    assert read(write(linked, 2)) == known(linked, 2) == protected
    assert read(write(linked, 1)) == known(linked, 1) == a_slice()
    for older in (1, 2):
        with pytest.raises(InvalidError, match="fields that its format hasn't"):
            read(json.dumps({**json.loads(write(protected, older)), "links": []}).encode())


def test_a_slice_without_paths_is_told_apart_as_it_was_before_there_were_any() -> None:
    """An edge of the release before would else fetch the same slice again and again."""
    assert a_slice().digest == "2b4e0e71842cd2173a0a160337affeaf"
    assert a_slice(paths=PATHS).digest != a_slice().digest
    assert a_slice(paths=PATHS).digest != a_slice(paths=PATHS, copies="calls").digest


def test_an_older_format_says_nothing_of_paths() -> None:
    plain = json.loads(write(a_slice(), 1))
    for more in ({"paths": []}, {"copies": "always"}):
        with pytest.raises(InvalidError, match="fields that its format hasn't"):
            read(json.dumps({**plain, **more}).encode())


def table(*formats: int) -> Mapping[int, Callable[[Slice], dict[str, Any]]]:
    return dict.fromkeys(formats, lambda each: {"site": each.site})


def test_centre_and_edge_may_be_two_releases_apart() -> None:
    centre = table(5, 6, 7)
    assert common([4, 5], centre) == 5
    assert common([5, 6, 7, 8], centre) == 7
    assert json.loads(write(a_slice(), 5, centre)) == {"format": 5, "site": "milan"}
    for asked, error_id, words in (
        ([3, 4], "edge_too_old", "reads slices of format 3, 4, and the centre writes 5, 6, 7"),
        ([8, 9], "edge_too_new", "from format 8 on, and the centre writes 5, 6, 7"),
        ([], "edge_too_old", "none"),
    ):
        with pytest.raises(RefusedError) as told:
            common(asked, centre)
        assert told.value.error_id == error_id
        assert words in told.value.message
    with pytest.raises(InvalidError) as refused:
        read(b'{"format": 99}')
    assert refused.value.error_id == "slice_format"
    assert refused.value.message == "slice/format: has the format 99, and this release reads 1, 2, 3"


GOOD: dict[str, Any] = json.loads(write(a_slice(), NEWEST))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"garbage", b"[]", b"{}", b"\xff\xfe", b"[" * 5000, b'{"format": [1]}', b'{"format": null}',
        json.dumps({**GOOD, "remotes": []}).encode(),
        json.dumps({**GOOD, "more": 1}).encode(),
        json.dumps({**GOOD, "openvpn": ["up /bin/sh"]}).encode(),
        json.dumps({**GOOD, "openvpn": ["verb 3\nup /bin/sh"]}).encode(),
        json.dumps({**GOOD, "openvpn": ["verb 3\n"]}).encode(),
        json.dumps({**GOOD, "remotes": [{"host": "a\nup x", "port": 1}]}).encode(),
        json.dumps({**GOOD, "remotes": [{"host": "a", "port": 0}]}).encode(),
        json.dumps({**GOOD, "site": "../x"}).encode(),
        b" " * 2_000_000,
    ],
)  # fmt: skip
def test_garbage_and_lines_that_start_something_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidError) as told:
        read(content)
    assert told.value.error_id in ("bad_slice", "slice_format")
    assert told.value.hint


@settings(deadline=None, max_examples=200)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_any_json_is_a_slice_or_an_error_of_ours(value: object) -> None:
    for key in GOOD:
        with pytest.raises(InvalidError):
            read(json.dumps({**GOOD, key: [value, value], "more": 1}).encode())


def test_only_our_signer_is_believed_and_only_for_what_it_signed(ground: Ground) -> None:
    root = chains.root_of(ground.paths.root_certificate.read_bytes())
    signer = ground.authority.signer()
    assert opened(signed(a_slice(), signer), root) == a_slice()
    for foreign in (
        signer.sign(Purpose.TIME, write(a_slice(), NEWEST)),
        Signer(certificates.new_key(), signer.chain).sign(Purpose.SLICE, write(a_slice(), NEWEST)),
        signed(a_slice(), signer).replace(b'"signed": "e', b'"signed": "f'),
        b"{}",
        b"garbage",
        b'{"signed": 1, "signature": 2, "certificate": 3}',
    ):
        with pytest.raises(InvalidError) as told:
            opened(foreign, root)
        assert told.value.error_id == "bad_signature"
    # A server's certificate, or a branch's, signs nothing; and a signer's gets nobody in.
    server = ground.paths.server.read_bytes()
    key = certificates.new_key()
    for role in (Role.SERVER, Role.BRANCH):
        issuer = ground.authority._vault.intermediates()[1].issuer
        leaf = certificates.leaf(issuer, key.public_key(), role, "milan.1", 5, ground.clock.now, ground.clock.now)
        chain = certificates.pem(leaf) + certificates.pem(issuer.certificate)
        assert chains.leaf_of(chain, root, role) == leaf
        with pytest.raises(InvalidError, match="for another use"):
            verified(Signer(key, chain).sign(Purpose.SLICE, b"x"), Purpose.SLICE, root)
    with pytest.raises(ValueError, match="it is for another use"):
        chains.leaf_of(server, root, Role.SIGNER)


def test_an_expired_signer_is_believed_because_no_clock_is(ground: Ground) -> None:
    content = signed(a_slice(), ground.authority.signer())
    root = chains.root_of(ground.paths.root_certificate.read_bytes())
    shown = ground.authority.issued()
    assert {each.role for each in shown if not each.site} == {Role.SERVER, Role.SIGNER}
    ground.clock.now = max(each.ends for each in shown)
    assert opened(content, root) == a_slice()


def test_the_centre_gives_out_what_the_generation_in_force_says(tmp_path: Path) -> None:
    slices = Slices(tmp_path / "current")
    with pytest.raises(UnavailableError):
        slices.of("torino")
    generation = tmp_path / "gen-000003"
    for name, text in plan.files(document(*TWO), 1).items():
        (generation / name).parent.mkdir(parents=True, exist_ok=True)
        (generation / name).write_text(text)
    (generation / ".revision").write_text("41")
    (tmp_path / "current").symlink_to(generation)
    assert slices.of("torino") == plan.plan(document(*TWO), "torino", 1, 41)
    for nobody in ("bari", "", "../voice-0", "torino.json"):
        with pytest.raises(NotFoundError):
            slices.of(nobody)
    (generation / plan.FOLDER / "torino.json").write_text("garbage")
    assert slices.of("torino").revision == 41, "of one generation, each is read once"
    with pytest.raises(CorruptError):
        Slices(tmp_path / "current").of("torino")
    assert FORMATS == (1, 2, 3)


def test_the_plan_tells_which_commits_cost_branches_their_tunnel() -> None:
    def effects(*rows: Row) -> set[Effect]:
        before, after = (plan.files(document(*each), 1) for each in (TWO, rows))
        return {step.effect for step in build(before, after).steps if isinstance(step, WriteFile)}

    concentrator, torino, roma, *branches = TWO
    assert effects(concentrator, site("torino", "10.33.0.0/24"), roma, *branches) == {Effect.LIVE}
    assert effects(concentrator, torino, roma, branches[0]) == {Effect.LIVE}
    assert effects(an_end(packets_per_second=99), torino, roma, *branches) == {Effect.DROPS_CONNECTIONS}
    assert effects(an_end(addresses=[{"host": "192.0.2.1"}]), torino, roma, *branches) == {Effect.DROPS_CONNECTIONS}


def an_end(**more: Any) -> Row:
    kind, data = a_concentrator(pool6="fd00:1:2:3::/64")
    return kind, {**data, **more}
