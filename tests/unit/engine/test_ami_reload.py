"""Reloads that the engine puts off, refuses or never ends. A peer of ours says what the engine can't be made to say at will."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.ami import AmiClient

RELOADED = "Module 'res_pjsip.so' reloaded successfully."
QUEUED = "Asterisk cannot reload a module yet; request queued"
IN_PROGRESS = "A module reload request is already in progress; please be patient"


class Peer:
    """A manager interface that answers each command with the next of its lines; the last one again and again."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:  # the client hangs up
            stream.write(b"Asterisk Call Manager/9.0.0\r\n")
            stream.flush()
            fields: dict[str, str] = {}
            for raw in stream:
                line = raw.decode().rstrip("\r\n")
                if line:
                    key, _, value = line.partition(": ")
                    fields[key] = value
                    continue
                stream.write(self._answer(fields))
                stream.flush()
                fields = {}

    def _answer(self, fields: dict[str, str]) -> bytes:
        lines = ["Response: Success", f"ActionID: {fields.get('ActionID', '')}"]
        if fields["Action"] == "Command":
            self.asked.append(fields["Command"])
            said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            lines.append(f"Output: {said}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def close(self) -> None:
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def answering() -> Iterator[object]:
    """Makes a peer and a client that is logged in to it."""
    made: list[tuple[Peer, AmiClient]] = []

    def make(*answers: str) -> tuple[Peer, AmiClient]:
        peer = Peer(*answers)
        made.append((peer, AmiClient.connect("secret", port=peer.port)))
        return made[-1]

    yield make
    for peer, client in made:
        client.close()
        peer.close()


@pytest.mark.parametrize("not_yet", [QUEUED, IN_PROGRESS])
def test_a_reload_that_is_put_off_is_asked_for_until_it_is_done(answering: object, not_yet: str) -> None:
    peer, client = answering(not_yet, not_yet, RELOADED)  # type: ignore[operator]
    client.reload("res_pjsip.so", timeout_s=30)
    assert peer.asked == ["module reload res_pjsip.so"] * 3


def test_a_reload_that_is_put_off_for_ever_is_given_up(answering: object) -> None:
    peer, client = answering(QUEUED)  # type: ignore[operator]
    with pytest.raises(UnavailableError) as caught:
        client.reload("res_pjsip.so", timeout_s=0.3)
    assert caught.value.error_id == "reload_timeout"
    assert len(peer.asked) > 1


@pytest.mark.parametrize(
    "said", ["No such module 'res_pjsip.so'", "The module 'res_pjsip.so' reported a reload failure"]
)
def test_a_module_that_refuses_to_reload_is_told_with_its_own_words(answering: object, said: str) -> None:
    peer, client = answering(said)  # type: ignore[operator]
    with pytest.raises(CentralinoError, match=said) as caught:
        client.reload("res_pjsip.so", timeout_s=30)
    assert caught.value.error_id == "reload_failed"
    assert len(peer.asked) == 1
