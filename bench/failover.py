"""Lines that die while somebody talks: what is lost with the relay pair, and with OpenVPN alone.

A branch with two lines, real OpenVPN at both ends (its keys exchanged every 11 s, so in every scene), and two voices of fifty packets a second, one each way. A
scene harms the primary, or a process; lost = sent − received over the whole scene, gap = the longest silence at an end. ``protected`` has our relays, with backup lines of several kinds
(:data:`lab.impairments.PROFILES`); the baseline, same run, is what is usual: a client with both addresses and ``keepalive 5 20``.

MOS: see :mod:`appliance.failover.quality`. ``mos``: with the buffer of a phone that deepens it as far as is worth it (adaptive, as phones are sold; 60 to 160 ms). ``mos_60``: with one of 60 ms that stays so.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from appliance.engine.processes import noted
from appliance.failover import quality
from appliance.failover.quality import BUFFER_MS
from bench import Result, Say
from lab.calls import Talk
from lab.impairments import IMPAIRMENTS, PROFILES
from lab.topology import Lab
from tests.hil.agents.process import eventually
from tests.hil.agents.relay import REKEY_S, Plain, Protected, Stream

DEPTHS_MS: Final = range(int(BUFFER_MS), 161, 10)

Scene = Callable[[Protected, float], None]

CALM_S: Final = 1.5
KEEPALIVE: Final = "keepalive 5 20"
LARGE: Final = 1370
"""Octets of a packet that a line which drops what is longer than 1,400 can't carry in one piece."""
FLAP_S: Final = 300.0
"""With the first kind of backup; with the others it flaps as long as any scene lasts."""


def blackhole(world: Protected, seconds: float) -> None:
    """The primary drops everything."""
    with world.dead("primary"):
        time.sleep(seconds)


def oneway_up(world: Protected, seconds: float) -> None:
    """What goes to the centre by the primary is lost."""
    with world.dropping("primary", "centre"):
        time.sleep(seconds)


def oneway_down(world: Protected, seconds: float) -> None:
    """What comes from the centre by the primary is lost."""
    with world.dropping("primary", "edge"):
        time.sleep(seconds)


def loss3(world: Protected, seconds: float) -> None:
    """Three in a hundred are lost on the primary, each way."""
    some = "numgen random mod 100 < 3"
    with world.dropping("primary", "centre", some), world.dropping("primary", "edge", some):
        time.sleep(seconds)


def jitter60(world: Protected, seconds: float) -> None:
    """The primary's packets come between nothing and 120 ms later."""
    world.worsen("primary", jitter_ms=60)
    time.sleep(seconds)
    world.worsen("primary")


def flap(world: Protected, seconds: float) -> None:
    """The primary dies and comes back, every five seconds (shorter in a short scene)."""
    step = min(5.0, seconds / 4)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with world.dead("primary"):
            time.sleep(step)
        time.sleep(step)


def failback(world: Protected, seconds: float) -> None:
    """The primary has been dead, comes back, and then the backup dies."""
    with world.dead("primary"):
        time.sleep(seconds / 2)
    time.sleep(CALM_S)
    with world.dead("backup"):
        time.sleep(seconds / 2)


def relay_kill_edge(world: Protected, seconds: float) -> None:
    """The branch's relay is killed."""
    world.kill_relay("edge")
    time.sleep(seconds)


def relay_kill_centre(world: Protected, seconds: float) -> None:
    """The centre's relay is killed."""
    world.kill_relay("centre")
    time.sleep(seconds)


def mtu(world: Protected, seconds: float) -> None:
    """The primary drops what is longer than 1,400 octets; then the backup dies."""
    long = "meta length > 1400"
    with world.dropping("primary", "centre", long), world.dropping("primary", "edge", long):
        time.sleep(seconds / 2)
        with world.dead("backup"):
            time.sleep(seconds / 2)


NOTHING_LOST: Final[dict[str, Scene]] = {
    "blackhole": blackhole, "oneway_up": oneway_up, "oneway_down": oneway_down, "loss3": loss3, "jitter60": jitter60, "flap": flap, "failback": failback,
    "relay_kill_edge": relay_kill_edge, "relay_kill_centre": relay_kill_centre, "mtu": mtu, "mtu_large": mtu,
}  # fmt: skip
SIZES: Final = {"mtu_large": LARGE}
FAR: Final = ("700ms", "700ms-loss1")
SMOKE: Final = ("blackhole", "loss3", "relay_kill_edge", "mtu")
USUAL: Final = ("blackhole", "loss3")
TARGETS: Final = {
    "lost_clean": "<= 0", "lost_over_product": "<= 0", "relay_kill_gap_ms": "<= 300", "mos_jitter60": ">= 4.2", "server_back_s": "<= 5",
    "server_term_back_s": "<= 5", "calls_lost": "<= 0", "calls_mos": ">= 4.2", "calls_rekeys_least": ">= 1",
    "dead_start_s": "<= 2", "both_back_s": "<= 3", "large_gap_ms": "<= 5000", "rekeys_least": ">= 1",
}  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """What came of one scene."""

    lost_up: int
    lost_down: int
    sent: int
    gap_ms: float
    mos: float
    mos_60: float
    rekeys: int

    def as_figures(self) -> dict[str, Any]:
        """For the line of JSON."""
        return {
            "lost_up": self.lost_up, "lost_down": self.lost_down, "sent": self.sent, "gap_ms": round(self.gap_ms, 1),
            "mos": round(self.mos, 2), "mos_60": round(self.mos_60, 2), "rekeys": self.rekeys,
        }  # fmt: skip


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: four scenes of a second with one kind of backup."""
    seconds = 1.0 if smoke else 12.0
    profiles = {name: PROFILES[name] for name in (("10ms",) if smoke else PROFILES) if name != "same"}
    scenes: dict[str, dict[str, Any]] = {}
    figures: dict[str, Any] = {"scenes": scenes}
    with Protected(slow=True) as world:
        for profile, bad in profiles.items():
            world.worsen("backup", delay_ms=bad.delay_ms, jitter_ms=bad.jitter_ms, loss=bad.loss)
            for name in SMOKE if smoke else NOTHING_LOST:
                longer = name == "flap" and profile == next(iter(profiles))
                heard = play(world, NOTHING_LOST[name], FLAP_S if longer else seconds, SIZES.get(name, Stream.VOICE))
                scenes.setdefault(name, {"protected": {}})["protected"][profile] = heard.as_figures()
                say(f"{name}, backup {profile}: {heard}")
            if not smoke:
                figures.setdefault("restarts", {})[profile] = restarts(world, profile, say)
    if not smoke:
        figures |= worst_restarts(figures["restarts"])
        figures |= calls(seconds, say)
    figures |= summary(scenes)
    if not smoke:
        figures["rekeys_least"] = min(
            heard["rekeys"] for scene in scenes.values() for heard in scene["protected"].values()
        )
        figures["large_gap_ms"] = max(heard["gap_ms"] for heard in scenes["mtu_large"]["protected"].values())
    usual = {name: plain(name, seconds if smoke else 40.0, say).as_figures() for name in USUAL[: 1 if smoke else None]}
    for name, found in usual.items():
        scenes[name]["plain"] = found
    return Result(
        "failover", figures, {"plain": usual}, {name: bound for name, bound in TARGETS.items() if name in figures}
    )


def play(world: Protected, scene: Scene, seconds: float, size: int = Stream.VOICE) -> Heard:
    """One scene, with a little calm before and after it. ``size``: octets in each packet."""
    before = world.rekeys()
    with world.stream(size) as stream:
        time.sleep(CALM_S / 2)
        scene(world, seconds)
        time.sleep(CALM_S)
    return of(stream, world.rekeys() - before)


def of(stream: Stream, rekeys: int) -> Heard:
    """What came of a stream."""
    up, down = stream.missing()
    adaptive = min(max(mos(stream, end, depth) for depth in DEPTHS_MS) for end in (0, 1))
    fixed = min(mos(stream, end, BUFFER_MS) for end in (0, 1))
    return Heard(len(up), len(down), min(stream.sent), 1000 * stream.gap_s(), adaptive, fixed, rekeys)


def mos(stream: Stream, end: int, buffer_ms: float) -> float:
    """How people would have liked what came to an end, 1 to 4.5 (see this module). ``buffer_ms``: what comes later than that behind the earliest is lost."""
    delays = stream.delays(end)
    least = min(delays)
    late = sum(1000 * (each - least) > buffer_ms for each in delays)
    bad = 1 - (len(delays) - late) / stream.sent[1 - end]
    return quality.mos(1000 * least + buffer_ms, bad)


def restarts(world: Protected, profile: str, say: Say) -> dict[str, float]:
    """What can't go on without a gap: how soon it is back, in seconds."""
    found = {
        "server_back_s": back(world, lambda: restart_server(world, signal.SIGKILL)),
        "server_term_back_s": back(world, lambda: restart_server(world, signal.SIGTERM)),
        "dead_start_s": dead_start(world),
        "both_back_s": both_back(world),
    }
    say(f"backup {profile}: {found}")
    return {name: round(value, 2) for name, value in found.items()}


def worst_restarts(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """With whichever backup. Begun with the primary dead, a tunnel takes as many round trips of the backup as its keys need: one of 1.4 s alone takes it past the
    target, so that one (:data:`FAR`) is told and not held to it."""
    worst = {name: max(each[name] for each in found.values()) for name in next(iter(found.values()))}
    near = [each["dead_start_s"] for profile, each in found.items() if profile not in FAR]
    return worst | {"dead_start_s": max(near)}


def back(world: Protected, harm: Callable[[], None]) -> float:
    """From the harm until both ends hear again."""
    with world.stream() as stream:
        time.sleep(CALM_S)
        began = time.monotonic()
        harm()
        heard = [len(got) for got in stream.got]
        eventually(
            lambda: all(len(got) > before + 5 for got, before in zip(stream.got, heard, strict=True)), "voice again", 60
        )
        return time.monotonic() - began


def restart_server(world: Protected, number: signal.Signals) -> None:
    """OpenVPN's server is killed or ended, and started at once."""
    child = world.server.child
    assert child is not None
    child.signal(number)
    child.stop()
    world.start_server()


def dead_start(world: Protected) -> float:
    """Everything at the branch begins while the primary is dead: until the tunnel is up."""
    with world.dead("primary"):
        world.client.stop()
        world.relays["edge"].stop()
        (world.places["edge"] / "state.json").unlink(missing_ok=True)
        began = time.monotonic()
        world.start_relay("edge")
        eventually(lambda: noted(world.places["edge"] / "relay.pid"), "the relay is at work")
        world.start_client()
        took = time.monotonic() - began
    world.both_bound()
    return took


def both_back(world: Protected) -> float:
    """Both lines die for five seconds; from when the backup is back until both ends hear again."""
    with contextlib.ExitStack() as lines, world.stream() as stream:
        lines.enter_context(world.dead("primary"))
        with world.dead("backup"):
            time.sleep(5)
        began = time.monotonic()
        heard = [len(got) for got in stream.got]
        eventually(
            lambda: all(len(got) > before + 5 for got, before in zip(stream.got, heard, strict=True)), "voice again", 60
        )
        return time.monotonic() - began


def calls(seconds: float, say: Say) -> dict[str, Any]:
    """Ten calls of the whole product, in the lab, with everything that can be wrong with the first line, and with the branch's agent killed when it dies, with every
    kind of second line: packets that phones missed, the worst MOS, and how often keys were exchanged."""
    found: dict[str, dict[str, float]] = {}
    with (
        Lab(say, taps=False, rekey_s=REKEY_S) as lab,
        Talk(lab, [(str(310 + at), str(330 + at)) for at in range(10)], 36000) as talk,
    ):
        eventually(lambda: {each.state for each in talk.conversations} == {"talking"}, "all talk", 60)
        time.sleep(CALM_S)
        for harm in IMPAIRMENTS:
            with harmed(lab, talk, harm, found, say):
                lab.impair("torino-fibre", harm)
                found[harm] = {"mos": worst_mos(talk, seconds)}
        for profile in PROFILES:
            lab.profile("torino-dsl", profile)
            with harmed(lab, talk, f"agent_kill {profile}", found, say) as name, agent_killed(lab):
                lab.impair("torino-fibre", "blackhole")
                found[name] = {"mos": worst_mos(talk, seconds)}
    return {
        "calls": found, "calls_lost": sum(each["lost"] for each in found.values()),
        "calls_mos": min(found[harm]["mos"] for harm in IMPAIRMENTS), "calls_rekeys_least": min(each["rekeys"] for each in found.values()),
    }  # fmt: skip


@contextlib.contextmanager
def harmed(lab: Lab, talk: Talk, name: str, found: dict[str, dict[str, float]], say: Say) -> Iterator[str]:
    """The first line is well again afterwards; what was lost meanwhile, and how often keys were exchanged, is found."""
    before, rekeys = missed(talk), lab.rekeys("torino")
    yield name
    lab.impair("torino-fibre", "well")
    lab.all_up()
    found[name] |= {"lost": missed(talk) - before, "rekeys": lab.rekeys("torino") - rekeys}
    say(f"ten calls, {name}: {found[name]}")


@contextlib.contextmanager
def agent_killed(lab: Lab) -> Iterator[None]:
    """The branch's agent is killed; its successor is in at the end."""
    edge = lab.edges["torino"]
    assert edge.agent is not None
    edge.agent.signal(signal.SIGKILL)
    edge.agent.wait()
    yield
    edge.start()
    eventually(lambda: edge.status().get("centre_reached"), "its successor is in", 15)


def worst_mos(talk: Talk, seconds: float) -> float:
    """The least that any phone hears meanwhile."""
    worst, until = 5.0, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(1)
        worst = min(worst, *(end["heard"]["mos"] for call in talk.told() for end in (call["caller"], call["callee"])))
    return worst


def missed(talk: Talk) -> int:
    """Packets that all phones together missed until now."""
    return sum(end["heard"]["lost"] for call in talk.told() for end in (call["caller"], call["callee"]))


def plain(name: str, seconds: float, say: Say) -> Heard:
    """The same with OpenVPN alone."""
    with Plain(KEEPALIVE) as world:
        heard = play(world, NOTHING_LOST[name], seconds)
    say(f"{name}, OpenVPN alone: {heard}")
    return heard


def summary(scenes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the targets are held against. With a backup that loses itself, both copies of a packet may be lost: by the product of both, and no more."""
    clean = over = 0
    for name, scene in scenes.items():
        for profile, heard in scene["protected"].items():
            if not profile.endswith("loss1"):
                clean += heard["lost_up"] + heard["lost_down"]
                continue
            expected = (
                heard["sent"]
                * 0.01
                * {
                    "loss3": 0.03,
                    "jitter60": 0.0,
                    "relay_kill_edge": 0.0,
                    "relay_kill_centre": 0.0,
                    "failback": 0.5,
                }.get(name, 1.0)
            )
            allowed = expected + 2 * expected**0.5  # the 95 % bound of a count
            over += sum(max(0, round(lost - allowed)) for lost in (heard["lost_up"], heard["lost_down"]))
    killed = [
        heard["gap_ms"]
        for name in scenes
        if name.startswith("relay_kill")
        for heard in scenes[name]["protected"].values()
    ]
    shaken = [heard["mos"] for heard in scenes.get("jitter60", {"protected": {}})["protected"].values()]
    found = {"lost_clean": clean, "lost_over_product": over, "relay_kill_gap_ms": max(killed)}
    return found | ({"mos_jitter60": min(shaken)} if shaken else {})
