"""What is ordered of the voice VPN's process, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from appliance.core.document import Document
from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.paths import Paths
from appliance.store import Store
from appliance.vpn import asking
from appliance.vpn.asking import Orders, revoke, told
from appliance.vpn.enrolment.invitation import read_file
from appliance.vpn.enrolment.ordered import Invitations, Opened, opened
from appliance.vpn.enrolment.service import Enrolment
from appliance.vpn.orders import answer_order
from appliance.vpn.pki import Authority, Issued
from tests.unit.vpn.ground import Ground, csr
from tests.unit.vpn.test_enrolment_gate import document


def ordered(path: Path, by: object, said: bytes = b"", site: str = "") -> object:
    """The answer to an order, of a server that revokes so."""

    async def work() -> object:
        server = await asyncio.start_unix_server(lambda *both: answer_order(by, *both), path)  # type: ignore[arg-type]
        async with server:
            return (
                await asyncio.to_thread(raw, path, said)
                if said
                else await asyncio.to_thread(revoke, path, site, "boss")
            )

    return asyncio.run(work())


def raw(path: Path, said: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_branch_is_revoked(tmp_path: Path, ground: Ground) -> None:
    name = ground.authority.enrol("milan", csr()).issued.name
    assert ordered(tmp_path / "s", ground.authority.revoke_site, site="milan") == [name]
    assert ground.authority.living("milan") == []


@pytest.mark.parametrize(
    "said",
    [b"", b"\n", b"[]\n", b"{}\n", b'{"do": "reboot"}\n', b'{"do": "revoke", "site": 3}\n', b"\xff\xfe\n", b"x" * 200_000, b'{"do": "revoke"', b"[" * 4000 + b"\n"],
)  # fmt: skip
def test_what_is_no_order_does_nothing(tmp_path: Path, said: bytes) -> None:
    done: list[str] = []

    def by(site: str) -> Iterable[Issued]:
        done.append(site)
        return ()

    assert b"is not understood" in bytes(ordered(tmp_path / "s", by, said or b"\0"))  # type: ignore[call-overload]
    assert done == []


def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    def full(_site: str) -> Iterable[Issued]:
        raise OSError(28, "No space left on device")

    with pytest.raises(UnavailableError) as found:
        ordered(tmp_path / "a", full, site="milan")
    assert (found.value.error_id, "No space left" in found.value.message) == ("vpn_revoke", True)

    def none(_site: str) -> Iterable[Issued]:
        raise UnavailableError("there is no authority yet", error_id="no_authority")

    with pytest.raises(CentralinoError, match="no authority"):
        ordered(tmp_path / "b", none, site="milan")
    with pytest.raises(InvalidError, match="is no id"):
        ordered(tmp_path / "c", none, site="../x")


def asked_of(path: Path, by: Opened, ask: Callable[[Orders], object]) -> object:
    async def work() -> object:
        invitations = Invitations(by)
        server = await asyncio.start_unix_server(lambda *both: answer_order(lambda _site: (), *both, invitations), path)
        async with server:
            return await asyncio.to_thread(ask, Orders(path))

    return asyncio.run(work())


def raise_(error: OSError) -> NoReturn:
    raise error


def test_invitations_by_order(tmp_path: Path, ground: Ground) -> None:
    enrolment = Enrolment(ground.paths, ground.authority)

    def here() -> AbstractContextManager[tuple[Enrolment, Document]]:
        return nullcontext((enrolment, document()))

    def ask(orders: Orders) -> None:
        made = orders.invite("torino", "boss", 1, replace=False, former="")
        assert made.code not in repr(made)
        (shown,) = orders.invitations()
        assert (shown.site, shown.standing, shown.until) == ("torino", "waiting", made.until)
        with pytest.raises(RefusedError) as found:
            orders.invite("torino", "boss", 1, replace=False, former="")
        assert found.value.error_id == "already_invited"
        assert orders.invite("torino", "boss", 1, replace=False, former=made.until).code != made.code
        assert orders.invite("torino", "boss", 1, replace=False, former=None).site == "torino"
        for hours in (0, 169, float("inf"), float("nan")):
            with pytest.raises(InvalidError, match="invitation may wait"):
                orders.invite("torino", "boss", hours, replace=False, former=None)
        with pytest.raises(NotFoundError, match="doesn't come in"):
            orders.invite("naples", "boss", 1, replace=False, former=None)
        with pytest.raises(RefusedError, match="another maker"):
            orders.invite("roma", "boss", 1, replace=False, former=None)
        assert [orders.withdraw("torino", "boss"), orders.withdraw("torino", "boss")] == [True, False]
        for site in ("../x", "", "a" * 41):
            with pytest.raises(InvalidError, match="is no id"):
                orders.withdraw(site, "boss")

    asked_of(tmp_path / "s", here, ask)

    @contextmanager
    def full() -> Iterator[tuple[Enrolment, Document]]:
        raise_(OSError(28, "No space left on device"))
        yield enrolment, document()

    with pytest.raises(UnavailableError, match="No space left") as found:
        asked_of(tmp_path / "full", full, lambda orders: orders.invitations())
    assert found.value.error_id == "vpn_invite"


def test_the_first_invitation_of_an_installation_makes_its_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CENTRALINO_STORE_URL", raising=False)
    paths = Paths(tmp_path, tmp_path)
    with Store.default(paths) as store:
        made = [each for items in document().objects.values() for each in items.values()]
        store.promote(store.propose(made, base=0, author="test").number)

    def ask(orders: Orders) -> None:
        made = orders.invite("torino", "boss", 1, replace=True, former="")
        assert (made.site, made.centres) == ("torino", (("vpn.example.com", 1194), ("2001:db8::7", 5000)))
        assert read_file(made.file.encode()).root == Authority(paths.vpn).root_key()

    asked_of(tmp_path / "s", partial(opened, paths), ask)


@pytest.mark.parametrize(
    "wrong",
    [{"hours": "1"}, {"hours": True}, {"hours": None}, {"replace": 1}, {"former": 3}, {"site": 3}, {"site": None}],
)
def test_no_half_understood_order_invites(tmp_path: Path, wrong: dict[str, object]) -> None:
    def never() -> NoReturn:
        pytest.fail("something was opened for it")

    said = json.dumps({"do": "invite", "site": "torino", **wrong}).encode() + b"\n"
    heard = bytes(asked_of(tmp_path / "s", never, lambda _orders: raw(tmp_path / "s", said)))  # type: ignore[call-overload]
    assert b"is not understood" in heard


def test_who_answers_and_goes_at_once_is_heard(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(b'{"branches": []}\n')

        connect = asking.connect
        with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:

            def connect_and_wait(connection: socket.socket, path: Path) -> None:
                gone = pool.submit(answer)
                connect(connection, path)
                gone.result()

            patch.setattr(asking, "connect", connect_and_wait)
            assert told(tmp_path / "s") == {"branches": []}


def test_nobody_there(tmp_path: Path) -> None:
    for ask in (lambda: told(tmp_path / "none"), lambda: revoke(tmp_path / "none", "milan", "boss")):
        with pytest.raises(UnavailableError) as found:
            ask()
        assert found.value.error_id == "vpn_not_running"
