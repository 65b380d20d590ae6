"""How slices are written (pure): one writer for each format, kept for edges of two releases before.

A format is a number. An edge asks with all that it reads, and is given the highest that both know. To change what a slice says:

1. :data:`NEWEST` goes up by one; its writer and reader are added, and a file of its own in ``tests/data/slices``;
2. the writer of the format before goes on writing what it wrote, byte for byte (its file in ``tests/data/slices`` says so), whatever has
   become of the model: what that format can't say is left out, or refused with ``edge_too_old``;
3. the writer of :data:`KEPT` formats before is removed.

What is new and an older edge may ignore needs no new format of its own *reader*: there is none, unknown fields are refused, so that
nothing of the document is silently not done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from appliance.core.errors import Fault, InvalidError, RefusedError
from appliance.failover.model import Copies
from appliance.vpn.slices.model import Slice

KEPT: Final = 2
"""Formats before the newest that are still written."""
MAX_BYTES: Final = 1024 * 1024

Writer = Callable[[Slice], dict[str, Any]]
Reader = Callable[[dict[str, Any]], Slice]


def _read_1(plain: dict[str, Any]) -> Slice:
    """Before there were relays: whoever signed anything of them in this format meant something else."""
    if plain.keys() & {"paths", "copies", "links"}:
        raise _refused("has fields that its format hasn't")
    return Slice.model_validate(plain)


def _write_1(slice: Slice) -> dict[str, Any]:
    return {
        "revision": slice.revision,
        "site": slice.site,
        "remotes": [{"host": each.host, "port": each.port} for each in slice.remotes],
        "openvpn": list(slice.openvpn),
        "networks": list(slice.networks),
        "inside": list(slice.inside),
        "inside_port": slice.inside_port,
    }


def _read_2(plain: dict[str, Any]) -> Slice:
    """Before a branch's packets could go by one line at a time, and its edge set up lines."""
    if plain.get("copies") == Copies.NEVER:
        raise _refused("has a way of copying that its format hasn't")
    if "links" in plain:
        raise _refused("has fields that its format hasn't")
    return Slice.model_validate(plain)


def _write_2(slice: Slice) -> dict[str, Any]:
    older = known(slice, 2)
    paths = [each.model_dump(mode="json") for each in older.paths]
    return {**_write_1(older), "paths": paths, "copies": older.copies.value}


def _write_3(slice: Slice) -> dict[str, Any]:
    paths, links = ([each.model_dump(mode="json") for each in of] for of in (slice.paths, slice.links))
    return {**_write_1(slice), "paths": paths, "copies": slice.copies.value, "links": links}


WRITERS: Final[Mapping[int, Writer]] = {1: _write_1, 2: _write_2, 3: _write_3}
"""What a centre of this release writes."""
READERS: Final[Mapping[int, Reader]] = {1: _read_1, 2: _read_2, 3: Slice.model_validate}
"""What an edge of this release reads."""
NEWEST: Final = max(WRITERS)
FORMATS: Final = tuple(sorted(READERS))
"""Formats that an edge of this release tells the centre."""


def common(theirs: Iterable[int], writers: Mapping[int, Writer] = WRITERS) -> int:
    """The highest format that both know.

    :raises RefusedError: ``edge_too_old``, ``edge_too_new``: there is none.
    """
    asked = sorted(set(theirs))
    both = [each for each in asked if each in writers]
    if both:
        return both[-1]
    ours = ", ".join(map(str, sorted(writers)))
    if not asked or asked[-1] < min(writers):
        reads = ", ".join(map(str, asked)) or "none"
        raise RefusedError(
            f"the edge is too old for this centre: it reads slices of format {reads}, and the centre writes {ours}",
            "install a newer release at the edge", error_id="edge_too_old",
        )  # fmt: skip
    raise RefusedError(
        f"the edge is too new for this centre: it reads slices from format {asked[0]} on, and the centre writes {ours}",
        "update the centre first, edges afterwards", error_id="edge_too_new",
    )  # fmt: skip


def write(slice: Slice, format: int, writers: Mapping[int, Writer] = WRITERS) -> bytes:
    """In that format. Equal slices give equal bytes. :raises RefusedError: ``edge_too_old``, ``edge_too_new``."""
    plain = {"format": common([format], writers), **writers[format](slice)}
    return json.dumps(plain, indent=1, ensure_ascii=True).encode() + b"\n"


def known(slice: Slice, format: int) -> Slice:
    """What of a slice an edge has that is given it in that format."""
    if format < 3:  # without links: lines are as they are, as for every edge of such a release
        nearest = (
            Copies.DEGRADED if slice.copies is Copies.NEVER else slice.copies
        )  # nothing is copied while the best line is well
        slice = slice.model_copy(update={"links": (), "copies": nearest})
    if format < 2 and slice.paths:
        return slice.model_copy(update={"paths": (), "copies": Copies.ALWAYS})
    return slice


def read(content: bytes, readers: Mapping[int, Reader] = READERS) -> Slice:
    """A slice of any format that is read.

    :raises InvalidError: ``bad_slice``: garbage; ``slice_format``: it is of another release.
    """
    if len(content) > MAX_BYTES:
        raise _refused(f"has {len(content)} bytes, and {MAX_BYTES} are allowed")
    try:
        plain: dict[str, Any] = json.loads(content)
        format = plain.pop("format")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused("can't be read") from error
    if not isinstance(format, int) or format not in readers:
        known = ", ".join(map(str, sorted(readers)))
        message = f"has the format {format!r}, and this release reads {known}"
        hint = "centre and edges may be two releases apart: update the older one"
        raise InvalidError([Fault("slice/format", message, hint, "slice_format")])
    try:
        return readers[format](plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "slice"
        raise _refused(f"is wrong at {where}: {first['msg']}") from error


def _refused(message: str) -> InvalidError:
    hint = "it isn't taken, and what was in force stays; see the centre's log"
    return InvalidError([Fault("slice", message, hint, "bad_slice")])
