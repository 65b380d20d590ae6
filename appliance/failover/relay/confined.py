"""What a relay may do besides moving packets: nothing. It reads what strangers send, so it gives up all else before the first of it comes."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from typing import Final

_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 38, 47, 4
_CAPABILITIES: Final = struct.pack("II", 0x20080522, 0)
"""``_LINUX_CAPABILITY_VERSION_3``, of this thread (capset(2))."""


def confine(user: pwd.struct_passwd | None) -> None:
    """Become that user, if any, and have no capability, and never get one. :raises OSError: it stays as it is."""
    if user is not None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    kernel = ctypes.CDLL(None, use_errno=True)
    none = struct.pack("6I", 0, 0, 0, 0, 0, 0)
    for word, failed in (
        ("ambient", kernel.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)),
        ("capset", kernel.capset(_CAPABILITIES, none)),
        ("no_new_privs", kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
    ):
        if failed:
            raise OSError(ctypes.get_errno(), f"{word}: {os.strerror(ctypes.get_errno())}")
