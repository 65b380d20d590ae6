from __future__ import annotations

import configparser

from appliance.engine.sandbox import Mount, Sandbox, command, hosts_text, systemd_unit

MOUNTS = (Mount("/s/config", "/etc/asterisk"), Mount("/s/log", "/var/log/asterisk", writable=True))


def test_started_by_root_it_gives_up_root_inside() -> None:
    argv = command(Sandbox("/r", MOUNTS, (45060, 45061)))
    assert argv[0] == "bwrap"
    inner = argv[argv.index("--") + 1 :]
    assert inner[0] == "/usr/bin/setpriv"
    assert {"--reuid=45060", "--regid=45061", "--clear-groups", "--no-new-privs", "--bounding-set=-all"} <= set(inner)
    assert inner[inner.index("--") + 1 :] == ["/usr/sbin/asterisk", "-f", "-C", "/etc/asterisk/current/asterisk.conf"]
    drop = argv.index("--cap-drop")
    assert argv[drop + 1] == "ALL"
    kept = {argv[at + 1] for at, word in enumerate(argv) if word == "--cap-add"}
    assert kept == {"CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"}


def test_started_by_a_user_it_keeps_no_capability() -> None:
    argv = command(Sandbox("/r", MOUNTS, None))
    assert "--cap-add" not in argv
    assert "/usr/bin/setpriv" not in argv
    assert argv[-4:] == ["/usr/sbin/asterisk", "-f", "-C", "/etc/asterisk/current/asterisk.conf"]


def test_the_allocator_is_the_same_both_ways() -> None:
    box = Sandbox("/r", MOUNTS, None)
    assert "--setenv LD_PRELOAD libjemalloc.so.2" in " ".join(command(box))
    assert "Environment=LD_PRELOAD=libjemalloc.so.2" in systemd_unit(box).splitlines()


def test_the_view_from_inside() -> None:
    argv = command(Sandbox("/r", MOUNTS, None))
    text = " ".join(argv)
    assert "--ro-bind /r / " in text
    assert "--ro-bind /s/config /etc/asterisk " in text
    assert "--bind /s/log /var/log/asterisk " in text
    assert {"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session", "--clearenv"} <= set(argv)
    assert not {"--unshare-net", "--unshare-all"} & set(argv)


def test_dying_with_its_starter_and_the_network_are_choices() -> None:
    assert "--die-with-parent" in command(Sandbox("/r", (), None))
    argv = command(Sandbox("/r", (), None, die_with_parent=False, network_namespace="branch"))
    assert "--die-with-parent" not in argv
    assert argv[:5] == ["ip", "netns", "exec", "branch", "bwrap"]


def test_hosts_holds_what_a_call_resolves() -> None:
    text = hosts_text(["pbx.example.com", "localhost"])
    names = {line.split()[0]: line.split()[1:] for line in text.splitlines()[:2]}
    assert names["127.0.0.1"] == names["::1"] == ["localhost", "centralino", "pbx.example.com"]
    assert " A.ROOT-SERVERS.NET " in text


def test_the_unit_gives_the_same_view() -> None:
    unit = systemd_unit(Sandbox("/r", MOUNTS, (45060, 45060)))
    assert "\nRootDirectory=/r\n" in unit
    assert "\nBindReadOnlyPaths=/s/config:/etc/asterisk:norbind\n" in unit
    assert "\nBindPaths=/s/log:/var/log/asterisk:norbind\n" in unit
    assert "\nRootImage=/r.img\n" in systemd_unit(Sandbox("/r", (), None), image="/r.img")
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit)
    service = parser["Service"]
    assert service["ExecStart"] == "/usr/sbin/asterisk -f -C /etc/asterisk/current/asterisk.conf"
    assert service["CapabilityBoundingSet"] == ""
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["PrivateTmp"]) == ("yes", "strict", "yes")
