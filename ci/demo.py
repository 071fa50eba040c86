"""The whole line on this machine, from nothing: a Debian base, an image, its boot test, the rehearsal of its release.

Needs neither KVM nor an image host. What it made stays in dist/ to look at.
"""

import argparse
import shlex
import sys
from pathlib import Path

from ci import rehearse, validate_image
from ci.build_image import BuildRequest, build_image
from ci.host import cli
from ci.host.process import run
from ci.host.progress import Reporter, short_path
from ci.host.qemu import QEMU
from ci.host.repository import ROOT
from ci.host.workspace import LOCK_NAME, cache_folder, exclusive
from ci.image.definition import DEMO_IMAGE
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.record import read_record
from ci.records.validation import Outcome, ValidationReport

SSH_PORT = 3023


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.demo", __doc__)
    result.add_argument("--image", default=DEMO_IMAGE, metavar="NAME", help="a file of build/images (%(default)s)")
    result.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> int:
    """Build and boot-test the demo image, and rehearse its release."""
    identity = throwaway_key(cache_folder() / "demo")
    output: Path = options.output
    request = BuildRequest(image=options.image, authorized_keys=Path(f"{identity}.pub"), output=output)
    built = build_image(request, reporter)
    version, stem, image = built.version, built.name, output / built.image.file
    validate_options = validate_image.arguments().parse_args([str(image), "--identity", str(identity)])
    validate_image.validate(validate_options, reporter)
    rehearse_options = rehearse.arguments().parse_args(["--dist", str(output), "--tag", version])
    rehearse.main(rehearse_options, reporter)
    _summarise(output, stem, identity, reporter)
    return 0


def throwaway_key(folder: Path) -> Path:
    """A key pair for the demo, kept outside the repository so that nobody commits it; returns the private half."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = folder / "id_ed25519"
    with exclusive(folder / LOCK_NAME):  # else another run could take half a pair, or replace it
        if not (identity.exists() and Path(f"{identity}.pub").exists()):
            identity.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "toolsmith-demo", "-f", identity], timeout=60)
    return identity


def _summarise(output: Path, stem: str, identity: Path, reporter: Reporter) -> None:
    built = read_record(output / f"{stem}{artifacts.BUILD}", BuildRecord)
    report = read_record(output / f"{stem}{artifacts.REPORT}", ValidationReport)
    passed = sum(check.outcome is Outcome.PASSED for check in report.checks)
    boots = ", ".join(f"{boot.name} {boot.ssh_seconds:.0f} s" for boot in report.boots if boot.ssh_seconds)
    image, evidence = short_path(output / built.image.file), short_path(output / stem)
    rows = [
        ("image", image),
        ("size", f"{built.image.size / 1e6:.0f} MB, {built.image.virtual_size >> 30} GiB virtual"),
        ("built in", f"{built.seconds:.0f} s"),
        ("boot test", f"{passed} of {len(report.checks)} checks passed in {len(report.boots)} boots"),
        ("start to SSH", boots),
        ("release", "rehearsed: published, rolled out and fetched back, against a server on this machine"),
        ("what was checked", f"{evidence}{artifacts.REPORT_MARKDOWN}"),
        ("what it looked like", f"{evidence}.console.png, .console.log, .boot.svg"),
    ]
    reporter.table("The demo", ("what", "result"), rows)
    command = [
        QEMU, "-drive", f"file={image},if=virtio,snapshot=on", "-m", "512",
        "-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{SSH_PORT}-:3023",
        "-device", "virtio-net-pci,netdev=net0", "-nographic",
    ]  # fmt: skip
    reporter.note(f"Start it yourself:  {shlex.join(command)}")
    reporter.note(f"and log in:         ssh -i {identity} -p {SSH_PORT} fountain@127.0.0.1")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
