"""Which shared libraries a program links: a reader for 64-bit little-endian ELF files.

Source: System V ABI, chapters 4 and 5 (program header, dynamic section).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(data: bytes) -> list[str]:
    """Sonames that an ELF file needs, its dynamic loader's file name among them; empty for anything else."""
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads, dynamic, names = [], (0, 0), []
    for number in range(count):
        kind, _, at, address, _, length = struct.unpack_from("<IIQQQQ", data, offset + number * size)
        if kind == _PT_LOAD:
            loads.append((at, address, length))
        elif kind == _PT_DYNAMIC:
            dynamic = (at, length)
        elif kind == _PT_INTERP:
            names.append(data[at : at + length].rstrip(b"\0").decode().rpartition("/")[2])
    strings, table = [], 0
    for at in range(dynamic[0], sum(dynamic), 16):
        tag, value = struct.unpack_from("<QQ", data, at)
        if tag == _DT_NEEDED:
            strings.append(value)
        elif tag == _DT_STRTAB:
            table = next((at + value - address for at, address, size in loads if address <= value < address + size), 0)
        elif tag == 0:
            break
    return names + [data[table + at : data.index(b"\0", table + at)].decode() for at in strings]


def closure(files: Iterable[Path], libraries: dict[str, Path]) -> tuple[set[Path], set[str]]:
    """Everything in ``libraries`` (soname → file or link) that ``files`` need, directly or through others.

    :return: the libraries found (links and what they point to), and the sonames that weren't there.
    """
    found: set[Path] = set()
    missing: set[str] = set()
    waiting = [file for file in files if file.is_file()]
    while waiting:
        for name in needed(waiting.pop().read_bytes()):
            library = libraries.get(name)
            if library is None:
                missing.add(name)
            elif library not in found:
                found.add(library)
                waiting.append(library)
                while library.is_symlink():
                    library = library.parent / library.readlink().name
                    found.add(library)
    return found, missing
