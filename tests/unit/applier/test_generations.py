"""Generations on disk: whole or not there."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from appliance.applier.generations import FILE_MODE, Generation, Generations
from appliance.core.errors import UnavailableError


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "config")


def first(generations: Generations) -> Generation:
    made = generations.create(None, {"pjsip.conf": "one", "tables/names.conf": "n"}, [], 1)
    generations.switch(made)
    return made


def test_a_generation_is_in_force_only_after_the_switch(generations: Generations) -> None:
    made = generations.create(None, {"pjsip.conf": "one"}, [], 7)
    assert generations.current() is None
    generations.switch(made)
    assert generations.current() == made
    assert (made.revision, made.number) == (7, 1)
    assert os.readlink(made.path.parent / "current") == "gen-000001"  # noqa: PTH115 (the very text counts: it must be relative)


def test_unchanged_files_are_links_and_changed_ones_get_a_newer_stamp(generations: Generations) -> None:
    one = first(generations)
    two = generations.create(one, {"pjsip.conf": "two"}, ["tables/names.conf"], 2)
    assert (two.path / "tables/names.conf").samefile(one.path / "tables/names.conf")
    assert (two.path / "pjsip.conf").stat().st_mtime_ns > (one.path / "pjsip.conf").stat().st_mtime_ns
    assert two.matches({"pjsip.conf": "two", "tables/names.conf": "n"})
    assert one.matches({"pjsip.conf": "one", "tables/names.conf": "n"})
    assert not one.matches({"pjsip.conf": "one"})


def test_a_stamp_is_newer_even_if_the_clock_went_back(generations: Generations) -> None:
    one = first(generations)
    future = (one.path / "pjsip.conf").stat().st_mtime_ns + 10**15
    os.utime(one.path / "pjsip.conf", ns=(future, future))
    two = generations.create(one, {"pjsip.conf": "two"}, [], 2)
    assert (two.path / "pjsip.conf").stat().st_mtime_ns > future


def test_only_the_owner_and_the_engine_may_read(generations: Generations) -> None:
    one = first(generations)
    assert {path.stat().st_mode & 0o777 for path in one.path.rglob("*") if path.is_file()} == {FILE_MODE}
    assert one.path.stat().st_mode & 0o007 == 0


def test_a_failed_write_leaves_nothing_behind(generations: Generations) -> None:
    one = first(generations)
    resource_before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal_before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource_before[1]))
    try:
        with pytest.raises(UnavailableError) as caught:
            generations.create(one, {"pjsip.conf": "x" * 5000}, ["tables/names.conf"], 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, resource_before)
        signal.signal(signal.SIGXFSZ, signal_before)
    assert caught.value.error_id == "disk_full"
    assert generations.current() == one
    assert sorted(path.name for path in one.path.parent.iterdir()) == ["current", "gen-000001"]


def test_pruning_keeps_the_newest_the_needed_and_the_one_in_force(generations: Generations) -> None:
    one = first(generations)
    for revision in range(2, 9):
        generations.create(one, {"pjsip.conf": str(revision)}, [], revision)
    (one.path.parent / "gen-000099.new").mkdir()
    assert generations.prune(2, needed=[4]) == [2, 3, 5, 6]
    assert [each.number for each in generations.all()] == [1, 4, 7, 8]
    assert not (one.path.parent / "gen-000099.new").exists()


def test_a_link_that_leads_nowhere_or_elsewhere_is_no_generation(generations: Generations, tmp_path: Path) -> None:
    top = tmp_path / "config"
    top.mkdir()
    (top / "current").symlink_to("gen-000042")
    assert generations.current() is None
    (top / "current").unlink()
    (top / "current").symlink_to("/etc")
    assert generations.current() is None
