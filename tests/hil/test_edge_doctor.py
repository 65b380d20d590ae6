"""What ``centralino doctor`` says at an edge of its kernel, by a real one."""

from __future__ import annotations

import json
import os
import re

from appliance.commands.doctor_edge import PING_GROUPS
from tests.hil.agents.network import Network, require_root
from tests.hil.command import Command


def test_a_kernel_that_lets_nobody_ping_is_found_and_mended_as_it_is_said() -> None:
    require_root()
    with Network() as net:
        edge = net.host("edge")
        top = net.work / "edge"
        top.mkdir()
        environment = {**os.environ, "CENTRALINO_EDGE": str(top), "CENTRALINO_STATE": str(net.work / "none")}
        with Command(edge, environment, net.work) as command:

            def kernel() -> tuple[str, str]:
                done = command.run("technician", ("doctor", "--json"), None, {})
                [found] = [each for each in json.loads(done.stdout) if each["check"] == "kernel"]
                return found["grade"], found["mend"]

            def pings() -> bool:
                return command.run("technician", ("edge", "ping", "127.0.0.1", "--count", "1"), None, {}).code == 0

            edge.run(["sh", "-c", f"echo 1 0 > {PING_GROUPS}"])
            grade, mend = kernel()
            assert (grade, pings()) == ("warning", False)
            said = re.search(r"net\.ipv4\.ping_group_range = ([0-9 ]+[0-9])", mend)
            assert said is not None
            edge.run(["sh", "-c", f"echo {said[1]} > {PING_GROUPS}"])
            assert (kernel(), pings()) == (("ok", ""), True)
