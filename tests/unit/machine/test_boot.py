import argparse
import tempfile
from pathlib import Path

import pytest

from ci.host import process
from ci.host.errors import HostError, InputError
from ci.host.qcow2 import QCOW2_HEADER, QCOW2_MAGIC
from ci.machine import boot
from ci.machine.commands import flags


def header(backing: int = 0, features: int = 0) -> bytes:
    return QCOW2_MAGIC + QCOW2_HEADER.pack(3, backing, 0, 0, features)[4:]


def test_a_whole_image_is_started(tmp_path: Path) -> None:
    image = tmp_path / "i.qcow2"
    image.write_bytes(header())
    boot.check_image(image)


@pytest.mark.parametrize("content", [header(backing=512), header(features=4), b"raw" * 400, b""])
def test_an_image_that_names_other_files_of_this_machine_is_not_started(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "i.qcow2"
    image.write_bytes(content)
    with pytest.raises(InputError, match="is not started: it has"):
        boot.check_image(image)


def test_no_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        boot.check_image(tmp_path / "none.qcow2")


@pytest.mark.parametrize("missing", ["qemu-system-x86_64", "ssh", "ssh-keygen"])
def test_what_is_missing_is_named_with_its_package(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_tool", lambda name: None if name == missing else f"/usr/bin/{name}")
    with pytest.raises(HostError, match=f"^{missing} is not installed") as failure:
        boot.require_programs()
    assert "apt-get install" in failure.value.hint


def test_qemu_has_its_temporary_files_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/usable")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert boot._temporary() == {"TMPDIR": "/usable"}
    monkeypatch.delenv("TMPDIR")
    assert boot._temporary() == {}  # a disk, and not what may be memory


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory")
    flags.add_command(parser)
    return parser.parse_args(argv)


def test_the_flags_of_a_command_are_its_own() -> None:
    assert flags.command_of(parsed("--memory", "1", "--", "a", "--memory", "--", "-x")) == ["a", "--memory", "--", "-x"]
    assert flags.command_of(parsed("a", "-x")) == ["a", "-x"]
    assert flags.command_of(parsed("--", "--", "a")) == ["--", "a"]


@pytest.mark.parametrize("argv", [[], ["--"]])
def test_no_command_is_an_error(argv: list[str]) -> None:
    with pytest.raises(InputError, match="no command"):
        flags.command_of(parsed(*argv))
