"""The client against a guest agent of a few lines, on a socket of this process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ci.boot.vm.qmp import Instruments
from ci.host.errors import BootError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

Request = dict[str, Any]
Reply = dict[str, Any]
Answer = Callable[[Request], list[Reply]]


def returns(request: Request, value: object) -> Reply:
    return {"return": value, "id": request["id"]}


def talk(tmp_path: Path, answer: Answer, act: Callable[[Instruments], Awaitable[None]], patience: float = 60) -> None:
    """Let `act` talk to an agent that answers each request by what `answer` returns for it."""

    async def main() -> None:
        instruments = Instruments(patience=patience)
        await instruments.agent.start_server(str(tmp_path / "s"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        await instruments.agent.accept()

        async def serve() -> None:
            text = ""  # the client puts nothing between its messages
            while data := await reader.read(65536):
                text += data.decode()
                while text:
                    request, end = json.JSONDecoder().raw_decode(text)
                    text = text[end:]
                    for reply in answer(request):
                        writer.write(json.dumps(reply).encode() + b"\n")

        serving = asyncio.ensure_future(serve())
        try:
            await act(instruments)
        finally:
            await instruments.agent.disconnect()
            writer.close()
            await serving

    asyncio.run(main())


def test_the_agent_answers_late_and_the_late_answers_do_no_harm(tmp_path: Path) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> list[Reply]:
        asked.append(request)
        if len(asked) < 3:  # nobody is there yet
            return []
        if request["execute"] == "guest-sync":  # now all that has piled up is answered, in its order
            return [returns(one, one["arguments"]["id"]) for one in asked]
        return [returns(request, {})]

    async def act(instruments: Instruments) -> None:
        await instruments.agent_answers(sync_seconds=0.01)
        await instruments.add_authorized_key("fountain", "ssh-ed25519 AAAA")

    talk(tmp_path, answer, act)
    assert [one["arguments"]["id"] for one in asked[:3]] == [1, 2, 3]  # each has a number of its own


def test_a_key_is_added_with_the_agents_own_command(tmp_path: Path) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> list[Reply]:
        asked.append(request)
        return [returns(request, {})]

    talk(tmp_path, answer, lambda instruments: instruments.add_authorized_key("fountain", "ssh-ed25519 AAAA test\n"))
    assert asked[0]["execute"] == "guest-ssh-add-authorized-keys"
    assert asked[0]["arguments"] == {"username": "fountain", "keys": ["ssh-ed25519 AAAA test"]}


def test_a_refused_command_is_told_with_the_agents_reason(tmp_path: Path) -> None:
    def answer(request: Request) -> list[Reply]:
        return [{"error": {"class": "GenericError", "desc": "no such user"}, "id": request["id"]}]

    with pytest.raises(BootError, match="the guest agent refused guest-ssh-add-authorized-keys: no such user"):
        talk(tmp_path, answer, lambda instruments: instruments.add_authorized_key("nobody", "ssh-ed25519 AAAA"))


def test_an_agent_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    async def act(instruments: Instruments) -> None:
        await instruments.add_authorized_key("fountain", "ssh-ed25519 AAAA")

    with pytest.raises(BootError, match="did not answer guest-ssh-add-authorized-keys"):
        talk(tmp_path, lambda _: [], act, patience=0.01)
