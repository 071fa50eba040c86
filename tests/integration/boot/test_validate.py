"""The boot test as a program, on guests of 512 bytes that fail in all the ways a real one can."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from junitparser import JUnitXml

from ci import validate_image
from ci.host import accelerator, cli
from ci.host.files import sha256_file
from ci.host.process import run
from ci.records.record import read_record
from ci.records.validation import Outcome, ValidationReport
from tests.support import broken_kvm
from tests.support.building import path_without
from tests.support.qemus import qemus_with

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# Print the text at 0x7c40 to the serial port, then stop for ever.
PRINT_AND_HANG = bytes.fromhex("31c0 8ed8 be407c fc  ac 84c0 7406  baf803 ee ebf5  fa f4 ebfd")
EVIDENCE = {"image.validation.json", "image.validation.xml", "image.validation.md", "image.console.log"}

MakeImage = Callable[[bytes], Path]


@pytest.fixture
def make_image(tmp_path: Path) -> MakeImage:
    def make(text: bytes) -> Path:
        sector = (PRINT_AND_HANG.ljust(0x40, b"\0") + text).ljust(510, b"\0") + b"\x55\xaa"
        raw, image = tmp_path / "disk.raw", tmp_path / "dist" / "image.qcow2"
        image.parent.mkdir()
        raw.write_bytes(sector.ljust(1 << 20, b"\0"))
        run(["qemu-img", "convert", "-O", "qcow2", raw, image], timeout=60)
        return image

    return make


def validate(image: Path, *flags: str, accelerator: str = "tcg") -> int:
    log = image.parent.parent / "log"
    argv = [str(image), "--accel", accelerator, "--boot-timeout", "1", "--log", str(log), *flags]
    return cli.run(validate_image.main, validate_image.arguments(), argv)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name not in ("image.qcow2", ".work-lock", ".lock")}


def test_an_image_that_panics_ends_at_once_with_all_its_evidence(
    make_image: MakeImage, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(b"\r\nKernel panic - not syncing: Attempted | to kill init\r\n")
    (image.parent / "image.boot.svg").write_text("of an earlier run")
    before = sha256_file(image)
    assert validate(image, "--boot-timeout", "60") == 8
    assert left_in(image.parent) == EVIDENCE
    report = read_record(image.parent / "image.validation.json", ValidationReport)
    found = {(check.boot, check.id): check for check in report.checks}
    assert not report.passed
    assert "the kernel panicked" in found["full", "came-up"].actual
    assert "Attempted | to kill init" in found["full", "came-up"].actual
    assert found["image", "image-unchanged"].outcome is Outcome.PASSED
    assert found["image", "virtual-size"].outcome is Outcome.FAILED
    assert {check.outcome for (boot, _), check in found.items() if boot == "seed"} == {Outcome.SKIPPED}
    assert report.image_sha256 == before == sha256_file(image)
    assert JUnitXml.fromfile(str(image.parent / "image.validation.xml")).failures == 2
    assert "Attempted | to kill init" in (image.parent / "image.console.log").read_text()
    shown = capsys.readouterr().err
    assert "the kernel panicked" in shown
    assert "image.validation.md" in shown.replace("\n", "")


@pytest.mark.parametrize("text", [b"thinking", b"\r\ntoolsmith login: "])
def test_an_image_that_hangs_or_has_no_way_in_is_given_up(text: bytes, make_image: MakeImage) -> None:
    image = make_image(text)
    assert validate(image) == 8
    assert left_in(image.parent) == EVIDENCE
    assert text.decode().strip() in (image.parent / "image.validation.md").read_text()


def test_with_an_identity_an_image_without_ssh_is_given_up_too(make_image: MakeImage, tmp_path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], timeout=60)
    image = make_image(b"\r\ntoolsmith login: ")
    assert validate(image, "--identity", str(tmp_path / "key")) == 8
    report = read_record(image.parent / "image.validation.json", ValidationReport)
    assert "a login as fountain: not within" in next(c.actual for c in report.checks if c.id == "came-up")


@contextlib.contextmanager
def pair_of_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two that hold a port and the next one; others with SO_REUSEADDR can listen there for as long as they do not."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            try:
                second.bind(("127.0.0.1", first.getsockname()[1] + 1))
            except (OSError, OverflowError):
                continue
            for each in (first, second):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            yield first, second
            return


@pytest.mark.parametrize("taken", [0, 1])
def test_a_port_in_use_is_a_fault_of_the_host_and_leaves_no_report(
    taken: int, make_image: MakeImage, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(b"hello")
    with pair_of_sockets() as pair:
        pair[taken].listen()
        ports = [each.getsockname()[1] for each in pair]
        assert validate(image, "--port", str(ports[0])) == 3
    assert left_in(image.parent) == set()
    assert f"port {ports[taken]} is already in use" in capsys.readouterr().err


def test_without_qemu_it_says_how_to_get_it(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(b"hello")
    monkeypatch.setenv("PATH", path_without(tmp_path / "bin", "qemu-system-x86_64"))
    assert validate(image) == 3
    said = capsys.readouterr().err
    assert "qemu-system-x86_64 is not installed" in said
    assert "make setup" in said
    assert left_in(image.parent) == set()


@pytest.fixture
def doubtful_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A QEMU whose KVM runs a kernel when it is tried, and then hangs; returns its folder."""
    monkeypatch.setenv("PATH", broken_kvm.put_in_path(tmp_path / "qemu", broken_kvm.Fault.SECOND_START))
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TOOLSMITH_ACCELERATOR", raising=False)
    monkeypatch.setattr(accelerator, "find_device_fault", lambda _device: None)
    monkeypatch.setattr(accelerator, "SILENCE_SECONDS", 3.0)
    return tmp_path / "qemu"


def test_a_boot_that_hangs_with_kvm_is_tried_once_more_with_tcg_and_kvm_is_not_blamed_for_the_image(
    make_image: MakeImage, doubtful_kvm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(b"\r\ntoolsmith login: ")
    assert validate(image, accelerator="auto") == 8
    said = capsys.readouterr().err
    assert "no sign of life for 3 s, with KVM; once more with TCG, which is slower" in said.replace("\n", "")
    report = read_record(image.parent / "image.validation.json", ValidationReport)
    assert report.accelerator == "tcg"
    assert "no sign of life" in report.accelerator_reason
    assert "an answer of the guest agent: not within" in next(c.actual for c in report.checks if c.id == "came-up")
    assert accelerator.probe().accelerator is accelerator.Accelerator.KVM
    assert broken_kvm.left_running(doubtful_kvm) == []


def test_a_boot_that_hangs_with_the_kvm_that_was_asked_for_is_an_error_that_names_it(
    make_image: MakeImage, doubtful_kvm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(b"\r\ntoolsmith login: ")
    assert validate(image, accelerator="kvm") == 17
    assert "TOOLSMITH_ACCELERATOR=tcg" in capsys.readouterr().err.replace("\n", "")
    assert left_in(image.parent) == set()
    assert broken_kvm.left_running(doubtful_kvm) == []


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"<html></html>", "is not a QCOW2 image")])
def test_what_is_no_image_is_refused_before_any_boot(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "dist" / "image.qcow2"
    image.parent.mkdir()
    if content is not None:
        image.write_bytes(content)
    assert validate(image) == 2
    assert words in capsys.readouterr().err
    assert left_in(image.parent) == set()


def test_an_image_with_a_backing_file_is_refused(make_image: MakeImage, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    run(["qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", make_image(b"x"), overlay], timeout=60)
    assert validate(overlay) == 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_machine_and_leaves_nothing(signum: int, make_image: MakeImage, tmp_path: Path) -> None:
    image = make_image(b"thinking")
    argv = [sys.executable, "-m", "ci.validate_image", str(image), "--accel", "tcg"]
    with subprocess.Popen(argv, env=os.environ | {"TOOLSMITH_LOGS": str(tmp_path)}) as process:
        deadline = time.monotonic() + 60
        while not qemus_with(image):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signum)
        assert process.wait(60) == 128 + signum
    assert left_in(image.parent) == set()
    assert not qemus_with(image)
