from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.core.errors import CorruptError, RefusedError, UnavailableError
from appliance.engine.definition import (
    Definition,
    Manifest,
    Package,
    check_asterisk,
    check_release,
    parse_bounds,
    parse_release,
    upstream_version,
)
from appliance.paths import Paths

REAL = (Paths(Path("/x"), Path("/y")).engine_definition / "definition.toml").read_text()
SMALL = """
suite = "sid"
components = ["main"]
accept_asterisk = ">=22.10,<23"
max_overdue_days = 30
[packages]
asterisk = "the PBX"
[without]
[keep]
[drop]
"""


def test_our_own_definition_is_good() -> None:
    definition = Definition.parse(REAL)
    assert definition.suite == "sid"
    assert {"asterisk", "janus"} <= definition.packages.keys()
    assert len(definition.name) == 16


def test_any_change_gives_another_root_but_comments_and_order_do_not() -> None:
    first = Definition.parse(SMALL)
    assert Definition.parse("# why\n" + SMALL) == first
    assert Definition.parse(SMALL.replace("22.10", "22.11")).name != first.name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("suite", "suit"), "suit"),
        (('"the PBX"', '""'), "asterisk has no reason"),
        (('"the PBX"', "1"), "asterisk has no reason"),
        ((">=22.10,<23", "22"), "'22' is no version bound"),
        (('["main"]', '["main"'), "not TOML"),
    ],
)
def test_a_wrong_definition_is_told(change: tuple[str, str], told: str) -> None:
    with pytest.raises(CorruptError, match=told):
        Definition.parse(SMALL.replace(*change))


@pytest.mark.parametrize("version", ["1:22.10.1+dfsg+~cs6.17.60671434-1", "22.10", "1:22.11.0~rc1-1", "22.99.9"])
def test_an_accepted_asterisk(version: str) -> None:
    check_asterisk(version, ">=22.10,<23")


@pytest.mark.parametrize("version", ["1:22.9.4+dfsg-1", "23.0", "1:23.0.0~rc1-1", "1:20.17.0-1", "22"])
def test_another_asterisk_is_refused(version: str) -> None:
    with pytest.raises(RefusedError, match=r"Centralino needs >=22\.10,<23") as caught:
        check_asterisk(version, ">=22.10,<23")
    assert caught.value.error_id == "engine_version"
    assert "archive" in caught.value.hint


def test_versions_and_bounds() -> None:
    assert upstream_version("1:22.10.1+dfsg-1") == (22, 10, 1)
    assert parse_bounds(">=22.10, <23") == [(">=", (22, 10)), ("<", (23,))]
    with pytest.raises(CorruptError):
        upstream_version("unknown")


RELEASE = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Suite: unstable
Date: Fri, 30 Oct 2026 08:08:01 UTC
Valid-Until: Fri, 06 Nov 2026 08:08:01 UTC
"""
UNTIL = datetime(2026, 11, 6, 8, 8, 1, tzinfo=UTC)


@pytest.mark.parametrize("overdue", [timedelta(days=-3), timedelta(0), timedelta(days=30)])
def test_a_release_within_the_bound_is_taken(overdue: timedelta) -> None:
    check_release(parse_release(RELEASE), UNTIL + overdue, max_overdue_days=30)


def test_a_release_past_the_bound_is_refused() -> None:
    with pytest.raises(UnavailableError, match="expired 31 days ago") as caught:
        check_release(parse_release(RELEASE), UNTIL + timedelta(days=31), max_overdue_days=30)
    assert caught.value.error_id == "mirror_stale"
    assert "CENTRALINO_MIRROR" in caught.value.hint


def test_a_release_without_validity_counts_from_its_date() -> None:
    release = parse_release("\n".join(line for line in RELEASE.splitlines() if "Valid" not in line))
    with pytest.raises(UnavailableError):
        check_release(release, UNTIL + timedelta(days=25), max_overdue_days=30)


@pytest.mark.parametrize("text", ["", "Suite: sid\n", "Date: yesterday\n"])
def test_a_release_without_a_date_is_told(text: str) -> None:
    with pytest.raises(CorruptError, match="no readable date"):
        parse_release(text)


def test_a_manifest_comes_back_as_it_was() -> None:
    package = Package("asterisk", "1:22.10.1-1", "amd64", 12, "00", "asterisk_1%3a22.10.1-1_amd64.deb")
    manifest = Manifest(
        "n", "d", "sid", "22.10.1", "1.4.1", "2026-10-30T08:08:01+00:00", "mirror", "t", 450.0, 117.0, 124.0, 16.0, (package,)
    )  # fmt: skip
    assert Manifest.loads(manifest.dumps()) == manifest
    assert manifest.version_of("asterisk") == "1:22.10.1-1"
    with pytest.raises(CorruptError, match="no package janus"):
        manifest.version_of("janus")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"packages": [{}]}', '{"packages": 1}'])
def test_no_manifest_is_told(text: str) -> None:
    with pytest.raises(CorruptError, match="no manifest"):
        Manifest.loads(text)
