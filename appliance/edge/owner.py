"""Whose an edge is: the user of its service, where there is one, else root.

The service runs as that user, and must be able to read what an enrolment left. So whatever root does at an edge, it does as that user: no file
there is ever root's, and no link that the user might plant leads root anywhere.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from appliance.edge.paths import EdgePaths
from appliance.i18n import later
from appliance.vpn import files

USER: Final = "centralino-edge"
ROOT: Final = 0


def owner(paths: EdgePaths) -> tuple[int, int]:
    """User and group: whose the edge's directory is; where there is none yet, the service's; where there is no such user, ours."""
    try:
        found = paths.top.stat()
    except FileNotFoundError:
        return _service() or (os.geteuid(), os.getegid())
    return found.st_uid, found.st_gid


@contextmanager
def as_owner(paths: EdgePaths) -> Iterator[None]:
    """Act as the edge's owner, who has a directory of mode 0700 then; all threads of this process do. Afterwards we are again who we were.

    :raises UnavailableError: ``disk_full``, ``storage``: it can't be made.
    """
    before = os.geteuid(), os.getegid(), os.getgroups()
    user, group = owner(paths)
    if before[0] != ROOT or user == ROOT:
        yield
        return
    _make(paths, user, group)
    os.setgroups([group])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        os.setgroups(before[2])


def as_root(action: Callable[[], None]) -> None:
    """Do it with the rights that :func:`as_owner` has put aside, if it has."""
    before = os.geteuid()
    if os.getresuid()[2] != ROOT:
        action()
        return
    os.seteuid(ROOT)
    try:
        action()
    finally:
        os.seteuid(before)


def _make(paths: EdgePaths, user: int, group: int) -> None:
    with files.explained(later("the edge's directory")):
        try:
            paths.top.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            return
        os.chown(paths.top, user, group)


def _service() -> tuple[int, int] | None:
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid
