"""The engine root is really built, and the engine really runs from it, confined."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.errors import CorruptError, NotFoundError, RefusedError, UnavailableError
from appliance.engine import archive
from appliance.engine.ami import AmiClient, AmiError
from appliance.engine.launch import Engine, EngineLauncher
from appliance.engine.modules import MODULES
from appliance.engine.plan import CEL_FIELDS
from appliance.engine.root import EngineRoot, ensure_root, find_root, try_programs
from appliance.engine.runner import CommandError
from appliance.engine.trim import ENGINE_GID, ENGINE_UID
from appliance.paths import Paths
from tests.hil.agents.network import require_root
from tests.hil.engine_under_test import prepared, started, write_generation


@pytest.fixture(scope="module")
def root() -> EngineRoot:
    require_root()
    return ensure_root(Paths.default())


@pytest.fixture(scope="module")
def engine(root: EngineRoot, tmp_path_factory: pytest.TempPathFactory) -> object:
    # Below a directory of mode 0700, as a private home is: the engine's user couldn't walk there by itself.
    with started(prepared(root, tmp_path_factory.mktemp("engine"))) as running:
        yield running


def inside(engine: Engine, path: str) -> Path:
    """A path as the engine sees it."""
    return Path(f"/proc/{engine.pid}/root") / path.lstrip("/")


def status(engine: Engine) -> dict[str, str]:
    lines = Path(f"/proc/{engine.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


# The root


def test_the_root_is_cached_and_its_manifest_names_what_is_in_it(root: EngineRoot) -> None:
    again = ensure_root(Paths.default())
    assert again == root
    assert {"asterisk", "asterisk-modules", "janus", "libc6"} <= {each.name for each in root.manifest.packages}
    assert root.manifest.version_of("asterisk") == root.manifest.asterisk
    assert root.manifest.size_mb < root.manifest.size_untrimmed_mb / 2
    for package in root.manifest.packages:
        assert (root.packages / package.file).stat().st_size == package.size


def test_the_root_has_no_shell_interpreter_or_package_manager(root: EngineRoot) -> None:
    programs = {file.name for place in ("usr/bin", "usr/sbin") for file in (root.path / place).iterdir()}
    assert programs == {"asterisk", "astcanary", "janus", "setpriv"}
    assert not [file for file in root.path.rglob("*") if not file.is_symlink() and file.stat().st_mode & 0o6000]


@pytest.mark.parametrize("language", ["it", "en"])
def test_prompts_of_the_basic_and_the_later_features_are_there(root: EngineRoot, language: str) -> None:
    sounds = root.path / "usr/share/asterisk/sounds" / language
    for prompt in (
        "beep",
        "digits/1",
        "vm-intro",
        "queue-youarenext",
        "conf-onlyperson",
        "demo-echotest",
        "pbx-invalid",
    ):
        assert (sounds / f"{prompt}.g722").stat().st_size > 500, prompt


def test_every_listed_module_is_in_the_root(root: EngineRoot) -> None:
    assert {name for name in MODULES if not (root.modules / f"{name}.so").exists()} == set()


def test_a_root_that_lacks_a_library_is_not_taken(root: EngineRoot, tmp_path: Path) -> None:
    copy = tmp_path / "root"
    subprocess.run(["cp", "-a", str(root.path), str(copy)], check=True)
    next(copy.rglob("libssl.so.3")).unlink()
    with pytest.raises(CommandError, match=r"libssl\.so\.3"):
        try_programs(copy)


def test_an_unreachable_mirror_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_MIRROR", "http://127.0.0.1:9/debian")
    paths = Paths(state=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(UnavailableError, match="can't be reached") as caught:
        ensure_root(paths)
    assert caught.value.error_id == "mirror_unreachable"
    assert "archive" in caught.value.hint
    assert [each.name for each in paths.engine_cache.iterdir()] == ["lock"]
    with pytest.raises(NotFoundError):
        find_root(paths)


@pytest.mark.slow
def test_an_archive_builds_the_very_same_root_without_a_mirror(
    root: EngineRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "engine.tar"
    archive.pack(root.packages, root.manifest, file)
    monkeypatch.setenv("CENTRALINO_MIRROR", "http://127.0.0.1:9/debian")
    paths = Paths(state=tmp_path, cache=tmp_path / "cache")
    (paths.engine_cache / "building-1" / "root").mkdir(parents=True)  # what a killed build leaves
    built = ensure_root(paths, from_archive=file)
    assert built.manifest.tree == root.manifest.tree
    assert built.manifest.packages == root.manifest.packages
    assert built.manifest.source == "archive"
    assert {each.name for each in paths.engine_cache.iterdir()} == {"lock", built.manifest.name}


def test_a_damaged_archive_is_refused(root: EngineRoot, tmp_path: Path) -> None:
    file = tmp_path / "engine.tar"
    archive.pack(root.packages, root.manifest, file)
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 2)
        content.write(b"damage")
    with pytest.raises(CorruptError, match="is damaged"):
        ensure_root(Paths(state=tmp_path, cache=tmp_path / "cache"), from_archive=file)


# The engine


def test_it_starts_without_a_warning(engine: Engine) -> None:
    log = engine.launcher.paths.messages.read_text()
    assert "Asterisk 22." in log
    assert not re.findall(r".*(?:WARNING|ERROR)\[.*", log)


def test_exactly_the_listed_modules_are_loaded(engine: Engine) -> None:
    with engine.ami() as ami:
        shown = re.findall(r"^(\w+)\.so .* Running", ami.command("module show"), re.MULTILINE)
    assert set(shown) == set(MODULES)


def test_it_has_no_privilege(engine: Engine) -> None:
    facts = status(engine)
    assert facts["NoNewPrivs"] == "1"
    assert {facts[each].strip("0") for each in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    assert facts["Uid"].split() == [str(ENGINE_UID)] * 4
    assert facts["Gid"].split() == [str(ENGINE_GID)] * 4
    assert facts["Groups"].strip() == ""
    assert facts["CapBnd"].strip("0") == ""


@pytest.mark.parametrize("path", ["/usr/bin/janus", "/usr/share/new", "/etc/asterisk/new", "/etc/passwd", "/new"])
def test_what_it_sees_is_read_only(engine: Engine, path: str) -> None:
    seen = inside(engine, path)
    existed = seen.exists()
    try:
        with pytest.raises(OSError, match="Read-only") as caught:
            seen.open("ab")
        assert caught.value.errno == errno.EROFS
    finally:
        if not existed and seen.exists():  # it could be written after all: don't leave the root spoilt
            seen.unlink()


@pytest.mark.parametrize("path", ["/var/lib/asterisk", "/var/spool/asterisk-cel", "/var/log/asterisk", "/run/asterisk"])
def test_its_own_directories_are_writable_by_its_user(engine: Engine, path: str) -> None:
    (inside(engine, path) / "trial").write_text("x")
    assert inside(engine, path).stat().st_uid == engine.launcher.user[0]
    (inside(engine, path) / "trial").unlink()


def test_it_sees_neither_the_host_nor_its_processes(engine: Engine) -> None:
    assert {each.name for each in inside(engine, "/").iterdir()} <= {
        "bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr", "var",
    }  # fmt: skip
    seen = {each.name for each in inside(engine, "/proc").iterdir() if each.name.isdigit()}
    assert seen <= {"1", "2"}
    assert "A.ROOT-SERVERS.NET" in inside(engine, "/etc/hosts").read_text()


def test_secrets_are_readable_by_their_owner_alone(engine: Engine) -> None:
    paths = engine.launcher.paths
    assert paths.ami_secret.stat().st_mode & 0o777 == 0o600
    assert (paths.current / "manager.conf").stat().st_mode & 0o777 == 0o640
    secret = paths.ami_secret.read_text()
    listed = Path(f"/proc/{engine.pid}/cmdline").read_bytes() + Path(f"/proc/{engine.sandbox_pid}/cmdline").read_bytes()
    assert secret.encode() not in listed
    assert secret not in paths.messages.read_text()


def test_a_second_start_in_the_same_place_is_refused(engine: Engine) -> None:
    with pytest.raises(RefusedError) as caught:
        engine.launcher.start()
    assert caught.value.error_id == "engine_running"
    assert engine.running


# Its manager interface


def test_actions_and_lists(engine: Engine) -> None:
    with engine.ami() as ami:
        assert ami.show_endpoint("200")[0]["Context"] == "test"
        assert [each["ObjectName"] for each in ami.list("PJSIPShowEndpoints")] == ["200"]
        assert ami.list("PJSIPShowContacts") == []
        assert ami.channels() == []
        ami.db_put("dnd", "200", "yes; => [x] ${EXTEN} é")
        assert ami.db_get("dnd", "200") == "yes; => [x] ${EXTEN} é"
        for _ in range(2):
            ami.db_delete("dnd", "200")
            assert ami.db_get("dnd", "200") is None
        ami.db_put("forward", "200", "x")
        for _ in range(2):
            ami.db_delete("forward")
            assert ami.db_get("forward", "200") is None
        ami.setvar("NAME", "value")
        assert ami.getvar("NAME") == "value"
        with pytest.raises(NotFoundError):
            ami.show_endpoint("nobody")
        with pytest.raises(AmiError, match="No such"):
            ami.hangup("PJSIP/none-00000001")


def test_a_changed_object_is_there_after_the_reload(engine: Engine) -> None:
    pjsip = engine.launcher.paths.current / "pjsip.conf"
    before = pjsip.read_text()
    try:
        with engine.ami() as ami:
            pjsip.write_text(before.replace("context=test", "context=other"))
            ami.reload("res_pjsip.so")
            assert ami.show_endpoint("200")[0]["Context"] == "other"
    finally:
        pjsip.write_text(before)
    with engine.ami() as ami:
        ami.reload("res_pjsip.so")
        assert ami.show_endpoint("200")[0]["Context"] == "test"
        with pytest.raises(Exception, match="No such module"):
            ami.reload("res_nothing.so")


def test_events_and_a_call(engine: Engine) -> None:
    cel = engine.launcher.paths.cel / "events.csv"
    with AmiClient.connect(engine.launcher.read_ami_secret(), port=engine.launcher.ami_port, events="call") as ami:
        where = {"Channel": "Local/300@test", "Context": "test", "Exten": "300", "Priority": "1", "Async": "true"}
        ami.action("Originate", where)
        while (event := ami.next_event(5)) is not None and event.event != "BridgeEnter":
            if event.event == "Newstate" and event["ChannelStateDesc"] == "Up":
                break
        assert event is not None
        channels = [each["Channel"] for each in ami.channels()]
        assert len(channels) == 2
        for channel in channels[:1]:
            ami.hangup(channel, cause=16)
        while (event := ami.next_event(5)) is not None and event.event != "Hangup":
            pass
        assert event is not None
        assert event["Cause"] == "16"
    first = cel.read_text().splitlines()[0]
    assert first.startswith('"CHAN_START","')
    assert first.count('","') == len(CEL_FIELDS) - 1


def test_a_wrong_secret_is_refused(engine: Engine) -> None:
    with pytest.raises(UnavailableError) as caught:
        AmiClient.connect("wrong", port=engine.launcher.ami_port)
    assert caught.value.error_id == "ami_login"


# Its life


def test_it_survives_its_starter_stops_and_starts_again(root: EngineRoot, tmp_path: Path) -> None:
    launcher = prepared(root, tmp_path)
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom appliance.paths import EnginePaths, Paths\n"
        "from appliance.engine.launch import EngineLauncher\nfrom appliance.engine.root import find_root\n"
        "EngineLauncher(find_root(Paths.default()), EnginePaths(Path(sys.argv[1])), int(sys.argv[2]), "
        "die_with_parent=False).start()\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(launcher.ami_port)], check=True, timeout=60)
    left = launcher.attach()
    assert left is not None
    try:
        assert left.running
        with left.ami() as ami:
            assert ami.command("core show uptime").startswith("System uptime")
    finally:
        left.stop()
    assert not left.running
    assert launcher.attach() is None


def test_after_a_crash_it_starts_again_and_keeps_its_database(root: EngineRoot, tmp_path: Path) -> None:
    launcher = prepared(root, tmp_path)
    with started(launcher) as first:
        with first.ami() as ami:
            ami.db_put("dnd", "200", "yes")
        first.stop()
        assert first.exit_code == 0
    with started(launcher) as second:
        second.kill()
        assert not second.running
    with started(launcher) as third, third.ami() as ami:
        assert ami.db_get("dnd", "200") == "yes"


def test_a_configuration_that_it_cannot_load_is_told(root: EngineRoot, tmp_path: Path) -> None:
    launcher = prepared(root, tmp_path)
    (launcher.paths.current / "modules.conf").write_text("[modules]\nautoload=no\nrequire=res_nothing.so\n")
    with pytest.raises(UnavailableError, match="ended with exit code") as caught:
        launcher.start()
    assert caught.value.error_id == "engine_start"
    assert launcher.attach() is None


def test_it_runs_in_a_network_namespace_without_dns(root: EngineRoot, tmp_path: Path) -> None:
    name = f"cen-root-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        plain = prepared(root, tmp_path)
        launcher = EngineLauncher(root, plain.paths, plain.ami_port, network_namespace=name)
        with started(launcher) as engine, engine.ami() as ami:
            assert ami.getvar("EPOCH").isdigit()
            here, there = (Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", engine.pid))
            assert here != there
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


ORDINARY_USER = """
import dataclasses, os, subprocess, tempfile
from pathlib import Path
from appliance.engine.root import find_root
from appliance.paths import Paths
from tests.hil.engine_under_test import prepared, started
with tempfile.TemporaryDirectory() as top:
    # The checkout may lie where only root can look: the user gets the root bound to a place of its own.
    bound, work = Path(top, "root"), Path(top, "work")
    bound.mkdir()
    work.mkdir()
    root = find_root(Paths.default())
    subprocess.run(["mount", "--bind", str(root.path), str(bound)], check=True)
    for place in (top, work):
        os.chown(place, 65534, 65534)
    if os.fork() == 0:
        os.setgroups([]); os.setgid(65534); os.setuid(65534); os.chdir("/")
        with started(prepared(dataclasses.replace(root, path=bound), work)) as engine:
            uid = Path(f"/proc/{engine.pid}/status").stat().st_uid
            with engine.ami() as ami:
                print(uid, ami.command("core show uptime").split()[0], flush=True)
            engine.stop()
        os._exit(0)
    os.wait()
    subprocess.run(["umount", str(bound)], check=True)
"""


def users_get_namespaces() -> bool:
    """Whether this kernel gives namespaces to whoever isn't root."""
    argv = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "--user",
        "--map-root-user",
        "true",
    ]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def test_an_ordinary_user_can_start_it(root: EngineRoot) -> None:
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", ORDINARY_USER]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    if not users_get_namespaces():
        assert "this kernel refuses the engine's sandbox" in done.stderr
        return
    assert done.stdout.split() == ["65534", "System"], done.stderr


def test_a_new_generation_is_seen_at_once(root: EngineRoot, tmp_path: Path) -> None:
    launcher = prepared(root, tmp_path)
    files = {each.name: each.read_text() for each in launcher.paths.current.iterdir()}
    with started(launcher) as engine, engine.ami() as ami:
        write_generation(launcher, files | {"tables.conf": "[x]\nkey=new\n"}, number=2)
        assert ami.getvar("AST_CONFIG(tables.conf,x,key)") == "new"


def test_systemd_finds_little_to_attack_in_the_unit(root: EngineRoot, tmp_path: Path) -> None:
    unit = tmp_path / "centralino-engine.service"
    unit.write_text(EngineLauncher(root, Paths.default().engine).unit())
    judge = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(judge, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    said = subprocess.run(["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True).stderr
    mine = [line for line in said.splitlines() if "centralino-engine" in line]
    # The program is in the root, not on this host: all that may be said.
    assert all("is not executable: No such file" in line for line in mine), mine
