"""What the session takes for granted of the real guestfish and of the shell, without an appliance."""

from pathlib import Path
from typing import cast

import pytest

from ci.host.appliance.guestfish import MAX_LINE_BYTES, Guestfish
from ci.host.process import PIPE, Child, run, spawn
from tests.unit.host.appliance.test_guestfish import TCG, ModelFish

pytestmark = pytest.mark.integration

AWKWARD = ["", '"', "\\", '\\"', "a\nb\n", "\t", "'", "#", "$HOME `id`", "é\U0001f511", "~", "<!echo x", "a  b", "|cat"]


@pytest.mark.parametrize("text", AWKWARD)
def test_the_real_guestfish_reads_a_quoted_argument_as_it_was(text: str) -> None:
    with spawn(["guestfish"], stdin=PIPE) as process:
        # `echo` puts a blank between its words.
        assert Guestfish(process, Path("/"), TCG).command("echo", "[", text, "]") == f"[ {text} ]\n"


def test_the_longest_command_is_one_that_the_real_guestfish_reads_whole() -> None:
    text = "k" * (MAX_LINE_BYTES - len('echo ""'))
    with spawn(["guestfish"], stdin=PIPE) as process:
        assert Guestfish(process, Path("/"), TCG).command("echo", text) == f"{text}\n"


@pytest.mark.parametrize(
    ("script", "code", "printed"),
    [
        ("true", 0, ""),
        ("false", 1, ""),
        ("sh -c 'echo out; echo err >&2; exit 3'", 3, "out\nerr"),
        ("printf 'no end of line'; (exit 7)", 7, "no end of line"),
        ("A='1' B='x y' sh -c 'echo $A $B; exit 100'", 100, "1 x y"),
        ("echo exit=0; false # a comment", 1, "exit=0"),
    ],
)
def test_a_script_gives_its_exit_code_and_all_it_printed(script: str, code: int, printed: str) -> None:
    def shell(command: list[str]) -> str:
        name, text = command
        assert name == "sh"
        return run(["sh", "-c", text], timeout=60).stdout

    guest = Guestfish(cast("Child", ModelFish(shell)), Path("/"), TCG)
    assert guest.shell(script, timeout=60) == (code, printed)
