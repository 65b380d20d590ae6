"""Archives of engine roots: packages and manifest, enough to build one again without a mirror.

Two forms: one tar to hand on, and a directory for each root that was built here (hard links to the cache: no more room).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import shutil
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from appliance.core.errors import CentralinoError, CorruptError, NotFoundError, RefusedError
from appliance.engine.definition import Definition, Manifest, Package, check_asterisk
from appliance.engine.runner import run

_MANIFEST = "manifest.json"
_FORMAT = "centralino-engine-1"


def list_packages(directory: Path) -> tuple[Package, ...]:
    """The packages in apt's archive directory, sorted by name; all else in it is deleted.

    apt names its files ``name_version_architecture.deb``, with colons as ``%3a``.
    """
    found = []
    for file in sorted(directory.iterdir()):
        if file.suffix == ".deb":
            name, version, architecture = file.stem.split("_")
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found.append(Package(name, unquote(version), architecture, len(content), digest, file.name))
        elif file.is_file():
            file.unlink()
    return tuple(sorted(found))


def pack(packages: Path, manifest: Manifest, target: Path) -> None:
    """Write the archive ``target``; the same root always gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".part")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _MANIFEST, manifest.dumps().encode())
        for package in manifest.packages:
            _add(tar, f"packages/{package.file}", (packages / package.file).read_bytes())
    unfinished.rename(target)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"{_FORMAT}/{name}")
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, BytesIO(content))


def keep(packages: Path, manifest: Manifest, archives: Path) -> Path:
    """Keep the packages below ``archives``, named by definition and version; nothing to do if they are."""
    version = re.sub(r"[^0-9A-Za-z.]+", "-", manifest.asterisk.partition(":")[2] or manifest.asterisk)
    place = archives / f"{manifest.name}-asterisk-{version}"
    if place.exists():
        return place
    archives.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".keeping-", dir=archives))
    try:
        (unfinished / "packages").mkdir()
        for package in manifest.packages:
            _link_or_copy(packages / package.file, unfinished / "packages" / package.file)
        (unfinished / _MANIFEST).write_text(manifest.dumps())
        unfinished.chmod(0o755)
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return place


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def fitting(archives: Path, definition: Definition, architecture: str) -> Path | None:
    """The newest kept archive that makes a root of the current definition; None: there is none."""
    found = []
    for place in archives.glob("*/") if archives.is_dir() else ():
        try:
            manifest = read_manifest(place)
            check_asterisk(manifest.asterisk, definition.accept_asterisk)
        except CentralinoError:
            continue
        names = {package.name for package in manifest.packages}
        foreign = {package.architecture for package in manifest.packages} - {architecture, "all"}
        if not foreign and definition.packages.keys() <= names:
            found.append((manifest.release_date, place))
    return max(found)[1] if found else None


def read_manifest(source: Path) -> Manifest:
    """Of an archive in either form.

    :raises NotFoundError: no such file. :raises CorruptError: not an archive of ours.
    """
    try:
        return Manifest.loads(_content(source, _MANIFEST).decode())
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no archive {source}") from error
    except (tarfile.TarError, KeyError, UnicodeDecodeError, OSError) as error:
        raise CorruptError(f"{source} is no archive of an engine root", "make one: make engine-archive") from error


def _content(source: Path, name: str) -> bytes:
    if source.is_dir():
        return (source / name).read_bytes()
    with tarfile.open(source) as tar:
        member = tar.extractfile(f"{_FORMAT}/{name}")
        return member.read() if member else b""


def unpack(source: Path, repository: Path, definition: Definition) -> list[str]:
    """Lay the archive out as a repository that apt can read, each package checked against the manifest.

    :return: names of the packages, all to be unpacked.
    :raises CorruptError: damaged, or altered after packing.
    :raises RefusedError: it lacks what the current definition asks for, or its Asterisk isn't one we take.
    """
    manifest = read_manifest(source)
    check_asterisk(manifest.asterisk, definition.accept_asterisk)
    names = [package.name for package in manifest.packages]
    if lacking := sorted(definition.packages.keys() - set(names)):
        raise RefusedError(
            f"the archive lacks packages of today's definition: {', '.join(lacking)}",
            "make a new archive from a mirror (make engine, then make engine-archive)",
            error_id="engine_archive_outdated",
        )
    repository.mkdir()
    index = []
    for package in manifest.packages:
        file = repository / package.file
        file.write_bytes(_checked(source, package))
        control = run(["dpkg-deb", "--field", str(file)]).output.rstrip()
        index.append(f"{control}\nFilename: ./{package.file}\nSize: {package.size}\nSHA256: {package.sha256}\n")
    (repository / "Packages.gz").write_bytes(gzip.compress("\n".join(index).encode(), mtime=0))
    return names


def _checked(source: Path, package: Package) -> bytes:
    try:
        content = _content(source, f"packages/{package.file}")
    except (KeyError, tarfile.TarError, OSError) as error:
        raise CorruptError(f"{source} lacks {package.file}") from error
    if "/" in package.file or hashlib.sha256(content).hexdigest() != package.sha256:
        raise CorruptError(f"{package.file} in {source} is damaged", "take another copy of the archive")
    return content
