"""Boot an image four times, unaltered, and check what it promises.

The evidence appears beside the image: <stem>.validation.json, .xml (JUnit) and .md, .console.log, .console.png and
.boot.svg.
"""

import argparse
import datetime
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from ci.boot import all_boots, image_file, interruptible, report
from ci.boot.all_boots import AllBoots, Capacity
from ci.boot.boot import BOOT_SECONDS, BootSettings
from ci.boot.image_file import ImageFile
from ci.boot.vm import ssh
from ci.host import actions, cli
from ci.host.accelerator import CHOICES, Acceleration, Choice, probe_aloud, with_other
from ci.host.errors import BootError, CheckError, InputError
from ci.host.files import sha256_file
from ci.host.process import require_tool, run
from ci.host.progress import Reporter
from ci.host.qemu import QEMU
from ci.host.workspace import work_folder
from ci.records import artifacts
from ci.records.validation import Outcome, ValidationReport
from ci.text.visible import lines

UNKNOWN_VERSION = "unknown"
# Looked for first: nothing should fail late for a reason known early.
TOOLS = (QEMU, "qemu-img", "cloud-localds")
MEMORY_MIB = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateRequest:
    """What to test and how; the flags say what each field means."""

    image: Path
    identity: Path | None = None
    accelerator: Choice = "auto"
    port: int | None = None
    output: Path | None = None
    memory_mib: int = MEMORY_MIB
    at_most: int | None = None
    boot_seconds: float = BOOT_SECONDS
    keep_running: bool = False


def arguments() -> argparse.ArgumentParser:
    """The flags; the names of their values are the request's."""
    result = cli.parser("toolsmith-image validate", __doc__)
    result.add_argument("image", type=Path, metavar="IMAGE.qcow2")
    result.add_argument(
        "--identity",
        type=Path,
        metavar="PRIVATE_KEY",
        help="log in with this key instead of one that the guest agent adds; it must be of build/authorized_keys",
    )
    result.add_argument(
        "--accel", choices=CHOICES, default="auto", dest="accelerator", help="how QEMU runs the guest (default: auto)"
    )
    result.add_argument(
        "--port", type=_number(1024, 65534), metavar="N", help="host port for SSH; N+1 is used too (default: free ones)"
    )
    result.add_argument(
        "--output", type=Path, metavar="DIR", help="where the evidence goes (default: beside the image)"
    )
    result.add_argument(
        "--memory",
        type=_number(1),
        default=MEMORY_MIB,
        metavar="MIB",
        dest="memory_mib",
        help="of all boots but the consumer's (default: %(default)s)",
    )
    result.add_argument(
        "--side-by-side",
        type=lambda text: None if text == "auto" else _number(1)(text),
        metavar="N|auto",
        dest="at_most",
        help="how many boots at a time (default: auto, as many as get processors of their own; with --port: 1)",
    )
    result.add_argument(
        "--boot-timeout",
        type=_number(1),
        default=int(BOOT_SECONDS),
        metavar="SECONDS",
        dest="boot_seconds",
        help="how long a guest may take to come up with KVM; without, six times as long (default: %(default)s)",
    )
    result.add_argument(
        "--keep-running", action="store_true", help="let the machine of a boot that failed stay, and tell the way in"
    )
    return result


def _number(low: int, high: float = math.inf) -> Callable[[str], int]:
    span = f"from {low} to {high}" if high < math.inf else f"of at least {low}"

    def number(text: str) -> int:
        if not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a number {span}")
        return int(text)

    return number


def request(options: argparse.Namespace) -> ValidateRequest:
    """What the flags ask for."""
    return cli.filled(ValidateRequest, options)


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Test the image that the flags name; raises what docs/exit-codes.md lists."""
    validate_image(request(options), reporter)


def capacity(port: int | None, at_most: int | None) -> Capacity:
    """What the boots share; raises InputError where several are to take the same ports."""
    if port is not None and (at_most or 1) > 1:
        raise InputError(
            f"--port names the ports of one boot, not of {at_most} side by side",
            hint="Leave out one of the two: without --port each boot takes free ones.",
        )
    return all_boots.this_machine(1 if port is not None else at_most)


def validate_image(asked: ValidateRequest, reporter: Reporter) -> ValidationReport:
    """Test an image; raises BootError where it does not boot, CheckError where a check failed."""
    started_at, started = datetime.datetime.now(datetime.UTC), time.monotonic()
    shared = capacity(asked.port, asked.at_most)
    image = image_file.read_image_file(asked.image)
    identity = read_identity(asked.identity, image.record.authorized_keys if image.record else None)
    for tool in TOOLS:
        require_tool(tool)
    output = asked.output or image.path.parent
    found = probe_aloud(asked.accelerator, reporter)
    before = digest(image.path, reporter)
    with work_folder(output) as folder:

        def boot(acceleration: Acceleration) -> AllBoots:
            settings = BootSettings(
                image=image.path.absolute(),
                acceleration=acceleration,
                keep_running=reporter.note if asked.keep_running else None,
                record=image.record,
                identity=identity,
                boot_seconds=asked.boot_seconds,
                port=asked.port,
                memory_mib=asked.memory_mib,
            )
            evidence = folder / acceleration.accelerator
            evidence.mkdir()
            return interruptible.run(all_boots.boot_all(settings, evidence, reporter, shared))

        boots = with_other(found, boot, reporter.note, proves=lambda boots: not boots.error)
        digests = before, digest(image.path, reporter)
        document = _document(image, boots, digests, started_at, time.monotonic() - started)
        consoles = [(boot.name, boot.console.text if boot.console else "") for boot in boots.boots]
        report.publish_evidence(document, consoles, folder / boots.acceleration.accelerator, output, image.stem)
    show(document, reporter)
    actions.append_summary(report.render_markdown(document))
    conclude(document, boots.error, output / f"{image.stem}{artifacts.REPORT_MARKDOWN}")
    return document


def _document(
    image: ImageFile, boots: AllBoots, digests: tuple[str, str], started_at: datetime.datetime, seconds: float
) -> ValidationReport:
    before, after = digests
    checks = (*image_file.file_checks(image, before), *boots.checks, image_file.unchanged(before, after))
    return ValidationReport(
        image=image.path.name,
        image_sha256=before,
        version=image.record.version if image.record else UNKNOWN_VERSION,
        passed=not any(check.outcome is Outcome.FAILED for check in checks),
        started_at=started_at,
        accelerator=boots.acceleration.accelerator,
        accelerator_reason=boots.acceleration.reason,
        qemu=run([QEMU, "--version"], timeout=30).stdout.partition("\n")[0].strip(),
        boots=[boot.result for boot in boots.boots],
        checks=[check.model_copy(update={"actual": lines(check.actual)}) for check in checks],
        seconds=round(seconds, 1),
    )


def read_identity(path: Path | None, authorized: Sequence[str] | None) -> ssh.Key | None:
    """The private key to log in with; raises InputError where the file holds none that the image lets in.

    `authorized` are the fingerprints of the image's keys, None where they are not known.
    """
    if path is None:
        return None
    try:
        key = ssh.load_key(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, asyncssh.KeyImportError) as error:
        raise InputError(
            f"{path} is not a private key that can be used: {error}",
            hint="Name an OpenSSH private key without a passphrase, or leave --identity out.",
        ) from error
    if authorized is not None and (fingerprint := key.private.get_fingerprint()) not in authorized:
        raise InputError(
            f"the image does not let {path} in: its fingerprint is {fingerprint}",
            hint="Name the private half of a key the image was built with, or leave --identity out.",
        )
    return key


def digest(path: Path, reporter: Reporter) -> str:
    """The image's SHA-256, with a bar while it is read."""
    with reporter.transfer("Reading the image", path.stat().st_size) as advance:
        return sha256_file(path, advance)


def show(document: ValidationReport, reporter: Reporter) -> None:
    """Print the boots, what failed, and how much passed."""
    reporter.table("Boots", report.BOOT_COLUMNS, [report.boot_row(boot) for boot in document.boots])
    if failed := document.failed:
        rows = [[check.boot, check.id, report.short(check.expected), report.short(check.actual)] for check in failed]
        reporter.table("Failed checks (docs/validation.md)", ("boot", "check", "expected", "actual"), rows)
    reporter.note(f"{report.count(document.checks)} in {document.seconds:.0f} s")


def conclude(document: ValidationReport, error: BootError | None, path: Path) -> None:
    """Raise what the report says, if it is no success."""
    if error is not None:
        raise BootError(error.message, hint=f"{error.hint} The report: {path}".strip(), details=error.details)
    if not document.passed:
        failed = sorted({check.id for check in document.failed})
        raise CheckError(
            f"{len(failed)} checks failed: {', '.join(failed)}",
            hint=f"Read {path}: it says what each of them guards, how to repeat it, and where to look.",
        )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
