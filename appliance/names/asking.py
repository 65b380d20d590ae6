"""Asks name servers: ``python -m appliance.names.asking``, questions on standard input, answers on standard output (JSON).

A process of its own, for what name servers send is read here: it is started by root (the applier), loads what it needs, gives
up root for good, and only then opens a socket. It lives for one round of questions. What it says is checked again by who started
it (:class:`appliance.names.answers.Answer`).

RFC 3263 without NAPTR (the document says the transport): SRV, else addresses; of each server IPv4 and IPv6.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver

from appliance.i18n import later
from appliance.names.answers import ADDRESSES, Answer, Question, Target

NOBODY: Final = 65534
TIMEOUT_S: Final = 2.0
"""For one answer of one name server."""
LIFETIME_S: Final = 5.0
"""For one look-up, all servers and tries."""
AT_ONCE: Final = 32
SERVERS: Final = 8
"""The most servers of one SRV answer whose addresses are looked up."""
SYSTEM: Final = Path("/etc/resolv.conf")


def configuration(preferred: Sequence[Path]) -> Path:
    """The first of these files that names a name server; else the system's."""
    for path in preferred:
        try:
            if any(line.split()[:1] == ["nameserver"] for line in path.read_text().splitlines()):
                return path
        except (OSError, ValueError):
            continue
    return SYSTEM


async def ask_all(questions: Iterable[Question], resolver: dns.asyncresolver.Resolver) -> dict[str, Answer]:
    """The answer to each question, by its key. Never raises for what a name server does."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(question: Question) -> tuple[str, Answer]:
        async with slots:
            return question.key, await ask(question, resolver)

    return dict(await asyncio.gather(*(one(each) for each in questions)))


async def ask(question: Question, resolver: dns.asyncresolver.Resolver) -> Answer:
    """One answer."""
    try:
        name = dns.name.from_text(question.name)
        if question.service:
            try:
                return await _by_service(dns.name.from_text(question.service, None) + name, resolver)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                pass  # RFC 3263 section 4.2: no such records, so the name itself is the server
        found = await _addresses(name, resolver)
        targets = tuple(Target(address=each, port=question.port) for each in found.addresses[:1024])
        return Answer(ttl=found.ttl, targets=targets, partial=found.partial)
    except dns.resolver.NXDOMAIN:
        return Answer(error=later("there is no such name"))
    except dns.resolver.NoAnswer:
        return Answer(error=later("the name has no address"))
    except dns.resolver.LifetimeTimeout:
        return Answer(error=later("no name server answers"))
    except dns.resolver.NoNameservers:
        return Answer(error=later("the name servers refuse, or fail"))
    except (dns.exception.DNSException, ValueError, OSError) as error:
        reason = f"it can't be looked up: {type(error).__name__}"
        return Answer(error=reason)


async def _by_service(name: dns.name.Name, resolver: dns.asyncresolver.Resolver) -> Answer:
    answer = await resolver.resolve(name, dns.rdatatype.SRV, lifetime=LIFETIME_S, search=False)
    records = sorted(answer, key=lambda record: (record.priority, -record.weight, record.target, record.port))
    if all(record.target == dns.name.root for record in records):
        return Answer(error=later("the provider says that it has no such service"))  # RFC 2782
    ttl = answer.chaining_result.minimum_ttl
    targets: list[Target] = []
    trouble: Exception | None = None
    partial = False
    records = [record for record in records if record.target != dns.name.root and record.port][:SERVERS]
    found = await asyncio.gather(*(_addresses(each.target, resolver) for each in records), return_exceptions=True)
    for record, its in zip(records, found, strict=True):
        if isinstance(its, BaseException):
            if not isinstance(its, dns.exception.DNSException):
                raise its
            trouble = its
            continue
        ttl, partial = min(ttl, its.ttl), partial or its.partial
        targets += [
            Target(address=each, port=record.port, priority=record.priority, weight=record.weight)
            for each in its.addresses[:ADDRESSES]
        ]
    silent = trouble is not None and not isinstance(trouble, dns.resolver.NXDOMAIN | dns.resolver.NoAnswer)
    if not targets:
        if trouble is not None and silent:
            raise trouble
        return Answer(error=later("its servers have no address"))
    return Answer(ttl=ttl, targets=tuple(targets), partial=partial or silent)


@dataclass(frozen=True, slots=True)
class _Addresses:
    ttl: int
    addresses: list[str]
    partial: bool


async def _addresses(name: dns.name.Name, resolver: dns.asyncresolver.Resolver) -> _Addresses:
    """Addresses of a name. :raises DNSException: there are none, or neither kind could be asked for."""
    kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
    asked = (resolver.resolve(name, kind, lifetime=LIFETIME_S, search=False) for kind in kinds)
    ttls, found = [], []
    trouble: list[BaseException] = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException):
            trouble.append(answer)
            continue
        ttls.append(int(answer.chaining_result.minimum_ttl))
        found += [str(record.address) for record in answer]
    silent = [each for each in trouble if not isinstance(each, dns.resolver.NXDOMAIN | dns.resolver.NoAnswer)]
    if not found:
        # That the name is known to have no address of one kind says nothing while the other can't be asked for.
        raise (silent or trouble)[0]
    return _Addresses(min(ttls), found, partial=bool(silent))


def give_up_root() -> None:
    """Become nobody for good. Nothing to do for who isn't root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def main() -> int:
    """Questions in, answers out."""
    questions = [Question.model_validate(each) for each in json.load(sys.stdin)]
    resolver = dns.asyncresolver.Resolver(str(configuration([Path(each) for each in sys.argv[1:]])))
    resolver.timeout, resolver.lifetime, resolver.cache = TIMEOUT_S, LIFETIME_S, None
    dns.asyncbackend.get_backend("asyncio")  # all of it is loaded before nobody may read it any more
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]
    give_up_root()
    answers = asyncio.run(ask_all(questions, resolver))
    json.dump({key: answer.model_dump() for key, answer in answers.items()}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
