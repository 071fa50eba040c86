"""The whole line on this machine, from nothing: a Debian base, an image, its boot test, the rehearsal of its release.

Needs neither KVM nor an image host. What it made stays in dist/ to look at.
"""

import argparse
import os
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ci import rehearse
from ci.boot.vm import ssh
from ci.boot.vm.qemu import CONSUMER_PORT, LOOPBACK
from ci.build_image import build_image, request_of_environment
from ci.host import cli
from ci.host.accelerator import Accelerator
from ci.host.errors import toolsmith
from ci.host.process import run
from ci.host.progress import Reporter, short_path
from ci.host.qemu import QEMU, escape
from ci.host.repository import ROOT
from ci.host.workspace import LOCK_NAME, cache_folder, exclusive
from ci.image.definition import DEMO_IMAGE
from ci.machine.ssh import USER, keygen
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.validation import Outcome, ValidationReport
from ci.records.version import Version
from ci.validate_image import ValidateRequest, validate_image

SSH_PORT = 3023  # this machine's


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """A definition of build/images, and the folder for what is made of it."""

    image: str
    output: Path


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image demo", __doc__)
    result.add_argument("--image", default=DEMO_IMAGE, metavar="NAME", help="a file of build/images (%(default)s)")
    result.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    return result


def request(options: argparse.Namespace) -> DemoRequest:
    return cli.filled(DemoRequest, options)


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    demo(request(options), reporter)


def demo(wanted: DemoRequest, reporter: Reporter) -> None:
    """Build and boot-test an image, and rehearse its release; raises what these raise."""
    identity = throwaway_key(cache_folder() / "demo")
    asked = replace(
        request_of_environment(), image=wanted.image, authorized_keys=Path(f"{identity}.pub"), output=wanted.output
    )
    built = build_image(asked, reporter)
    image = wanted.output / built.image.file
    report = validate_image(ValidateRequest(image=image, identity=identity), reporter)
    tag = Version.parse(built.version)
    rehearse.rehearse(rehearse.RehearseRequest(dist=wanted.output, tag=tag, image=wanted.image), reporter)
    _summarise(wanted.output, built, report, reporter)
    reporter.note(how_to_start(image, identity, Accelerator(report.accelerator)))


def throwaway_key(folder: Path) -> Path:
    """A key pair for the demo, kept outside the repository so that nobody commits it; returns the private half."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = folder / "id_ed25519"
    with exclusive(folder / LOCK_NAME):  # else another run could take half a pair, or replace it
        if not (identity.exists() and Path(f"{identity}.pub").exists()):
            identity.unlink(missing_ok=True)
            run(keygen(identity, "toolsmith-demo"), timeout=60)
    return identity


def _summarise(output: Path, built: BuildRecord, report: ValidationReport, reporter: Reporter) -> None:
    passed = sum(check.outcome is Outcome.PASSED for check in report.checks)
    starts = (f"{boot.name} {boot.ssh_seconds:.0f} s" for boot in report.boots if boot.ssh_seconds)
    evidence = short_path(output / built.name)
    rows = [
        ("image", short_path(output / built.image.file)),
        ("size", f"{built.image.size / 1e6:.0f} MB, {built.image.virtual_size >> 30} GiB virtual"),
        ("built in", f"{built.seconds:.0f} s"),
        ("boot test", f"{passed} of {len(report.checks)} checks passed in {len(report.boots)} boots"),
        ("start to SSH", ", ".join(starts)),
        ("release", "rehearsed: published, rolled out and fetched back, against a server on this machine"),
        ("what was checked", f"{evidence}{artifacts.REPORT_MARKDOWN}"),
        ("what was on its console", f"{evidence}{artifacts.CONSOLE_LOG}"),
    ]
    reporter.table("The demo", ("what", "result"), rows)
    pictures = sorted(path for ending in ("png", "svg") for path in output.glob(f"{built.name}.*.{ending}"))
    reporter.note("\n  ".join(["Pictures of it:", *(shlex.quote(os.fspath(path.absolute())) for path in pictures)]))


def how_to_start(image: Path, identity: Path, accelerator: Accelerator) -> str:
    """What a person types to start an image, log in and run a command, in any folder and as often as they like."""
    command = [
        QEMU, *accelerator.qemu_args, "-m", "512", "-nographic",
        "-drive", f"file={escape(image.absolute())},if=virtio,snapshot=on",
        "-netdev", f"user,id=net0,hostfwd=tcp:{LOOPBACK}:{SSH_PORT}-:{CONSUMER_PORT}",
        "-device", "virtio-net-pci,netdev=net0",
    ]  # fmt: skip
    return (
        f"Start it yourself; its console takes this terminal, and Ctrl-A X ends it:\n  {shlex.join(command)}\n"
        f"Then log in, in another terminal:\n  {ssh.command_line(USER, SSH_PORT, identity)}\n"
        "Or run one command in a machine of its own, whose exit code it has:\n"
        f"  {toolsmith('run', '--image', os.fspath(image.absolute()), '--', 'python3', '--version')}"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
