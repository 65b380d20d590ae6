"""Lines that die or go bad while somebody talks, and nothing is copied: how long voice is gone until it goes by the other line.

Scenes of :mod:`bench.failover`, with ``copies: never``: each end sends by one line, the best. Lost = sent − received over the whole scene; gap = the longest silence
at an end; switches = changes of line, of the end that made more of them; ``left_s``: until the bad line was left. The baseline, same run: the same relays, told
which line to use by somebody who counts pings as mwan3 does by default (one every 10 s, and a line is down after five that were lost). That is more than mwan3
would do for a call: the tunnel stays.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from appliance.failover.relay.best import HOLD_S
from bench import Result, Say
from bench.failover import CALM_S, FLAP_S, Scene, blackhole, flap, jitter60, loss3, oneway_down, oneway_up
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import LINES, Protected

PING_S: Final = 10.0
PINGS: Final = 5
"""mwan3's ``interval`` and ``down``."""


def bad_and_back(harm: Scene) -> Scene:
    """A line is bad, and then well until it is come back to."""

    def scene(world: Protected, seconds: float) -> None:
        harm(world, seconds)
        time.sleep(2 * HOLD_S)

    return scene


def failback(_world: Protected, seconds: float) -> None:
    """The primary is back from the dead before the scene begins; in it, voice comes back to it."""
    time.sleep(max(seconds, 2 * HOLD_S))


def relay_kill(world: Protected, seconds: float) -> None:
    """Either relay is killed in a call (the agent has no part in it: :mod:`appliance.failover.relay`)."""
    for end in ("edge", "centre"):
        world.kill_relay(end)
        time.sleep(seconds / 2)


SCENES: Final[dict[str, Scene]] = {
    "blackhole": blackhole, "oneway_up": oneway_up, "oneway_down": oneway_down, "loss3": bad_and_back(loss3), "jitter60": bad_and_back(jitter60),
    "flap": flap, "failback": failback, "relay_kill": relay_kill,
}  # fmt: skip
SMOKE: Final = ("blackhole",)
DEAD: Final = ("blackhole", "oneway_up", "oneway_down")
BAD: Final = ("loss3", "jitter60")
TARGETS: Final = {
    "dead_gap_ms": "<= 1000", "bad_left_s": "<= 5", "bad_back_s": f">= {HOLD_S - 4:g}", "flap_switches": "<= 3", "failback_gap_ms": "<= 100",
    "relay_kill_gap_ms": "<= 300",
}  # fmt: skip


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: one scene of two seconds, and the baseline with a ping a second."""
    seconds, scenes = 2.0 if smoke else 15.0, {}
    for name in SMOKE if smoke else SCENES:
        with Protected("never", slow=True) as world:
            world.worsen("backup", delay_ms=25)
            eventually(lambda world=world: on(world) == {0}, "voice goes by the primary", 30)  # type: ignore[misc]
            scenes[name] = {"switch": play(world, name, FLAP_S if name == "flap" else seconds)}
        say(f"{name}: {scenes[name]['switch']}")
    counted = pinged(1.0 if smoke else PING_S, say)
    scenes["blackhole"]["pinged"] = counted
    figures: dict[str, Any] = {"scenes": scenes, **summary({name: each["switch"] for name, each in scenes.items()})}
    targets = {"dead_gap_ms": TARGETS["dead_gap_ms"]} if smoke else TARGETS
    return Result("switch", figures, {"blackhole": counted}, targets)


def on(world: Protected) -> set[Any]:
    """Paths by which the two ends send: one, if both send by the same."""
    with contextlib.suppress(KeyError):
        return {world.standing("edge")["best"], world.standing("centre")["sites"]["bari"]["best"]}
    return set()


def decided(world: Protected) -> list[list[dict[str, Any]]]:
    """By end: when another line was taken, and why."""
    time.sleep(1.2)  # each tells once a second
    ends = (world.standing("edge"), world.standing("centre")["sites"]["bari"])
    return [[each for each in end["decisions"] if each["left"] is not None] for end in ends]


def last_of(decisions: list[dict[str, Any]]) -> int:
    """How many there were; the centre tells the last ones only. The first isn't one of ours: there was no line before it."""
    return int(decisions[-1]["number"]) if decisions else 1


def play(world: Protected, name: str, seconds: float) -> dict[str, Any]:
    """One scene, with a little calm before and after it."""
    if name == "failback":
        blackhole(world, 5.0)
    before = [last_of(each) for each in decided(world)]
    with world.stream() as stream:
        time.sleep(CALM_S)
        began = time.monotonic()
        SCENES[name](world, seconds)
        time.sleep(CALM_S)
    up, down = stream.missing()
    ends = decided(world)
    made = [[each for each in end if each["number"] > number] for end, number in zip(ends, before, strict=True)]
    switches = max(max(0, last_of(end) - number) for end, number in zip(ends, before, strict=True))
    asked = time.monotonic()
    at = [[asked - each["ago_s"] - began for each in end] for end in made]
    return {
        "lost_up": len(up), "lost_down": len(down), "sent": min(stream.sent), "gap_ms": round(1000 * stream.gap_s(), 1),
        "switches": switches, "why": [[each["why"] for each in end] for end in made],
        **({"left_s": round(max(end[0] for end in at), 1), "back_s": round(min(end[1] for end in at) - seconds, 1)}
           if name in BAD and all(len(end) > 1 for end in at) else {}),
    }  # fmt: skip


def pinged(every_s: float, say: Say) -> dict[str, Any]:
    """The primary dies, and somebody counts pings."""
    with Protected("never", slow=True) as world:
        world.worsen("backup", delay_ms=25)
        with only(world, "primary"), world.stream() as stream:
            time.sleep(CALM_S)
            with world.dead("primary"):
                lost = 0
                while lost < PINGS:
                    time.sleep(every_s)
                    lost = 0 if answers(world, "primary") else lost + 1
                    say(f"a ping every {every_s:g} s: {lost} lost of {PINGS}")
                with only(world, "backup"):
                    time.sleep(3 * CALM_S)
    up, down = stream.missing()
    found = {
        "lost_up": len(up),
        "lost_down": len(down),
        "sent": min(stream.sent),
        "gap_ms": round(1000 * stream.gap_s(), 1),
    }
    say(f"blackhole, pings counted: {found}")
    return found


@contextlib.contextmanager
def only(world: Protected, line: str) -> Iterator[None]:
    """The edge goes by this line alone."""
    config = world.edge_config()
    config["lines"] = [each for each in config["lines"] if each["role"] == line]
    world.write("edge", config)
    number = config["lines"][0]["path"]
    eventually(lambda: on(world) == {number}, f"voice goes by the {line}", 20)
    yield


def answers(world: Protected, line: str) -> bool:
    """Whether the line's far end answers a ping."""
    device = f"eth{list(LINES).index(line)}"
    done = world.edge.run(["ping", "-c", "1", "-W", "1", "-I", device, world.far_end(line)], check=False)
    return bool(done.returncode == 0)


def summary(scenes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the targets are held against."""
    figures: dict[str, Any] = {"dead_gap_ms": max(scenes[name]["gap_ms"] for name in DEAD if name in scenes)}
    worst: tuple[tuple[str, str, str, Callable[[list[Any]], Any]], ...] = (
        ("relay_kill_gap_ms", "relay_kill", "gap_ms", max),
        ("bad_left_s", "loss3 jitter60", "left_s", max), ("bad_back_s", "loss3 jitter60", "back_s", min),
        ("flap_switches", "flap", "switches", max), ("failback_gap_ms", "failback", "gap_ms", max),
    )  # fmt: skip
    for figure, names, key, of in worst:
        found = [scenes[name].get(key) for name in names.split() if name in scenes]
        if (
            found and None not in found
        ):  # a line that wasn't left, or come back to, has no time for that: its target is missed
            figures[figure] = of(found)
    return figures
