"""A whole validation: what is tested, all boots one after another, and the evidence they leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.boot import image_file, report, scenarios
from ci.boot.qemu import QEMU
from ci.boot.visit import Bench, BootOutcome
from ci.host.errors import BootError
from ci.host.files import publish_together, write_atomic
from ci.host.process import run
from ci.host.progress import Reporter
from ci.host.workspace import exclusive
from ci.records.build import BuildRecord
from ci.records.record import read_record
from ci.records.validation import BootResult, CheckResult, ValidationReport

REPORT = "validation.json"
EVIDENCE = (REPORT, "validation.xml", "validation.md", "console.log", scenarios.SCREENSHOT, scenarios.CHART)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The image under test, with what stands beside it."""

    path: Path
    stem: str
    info: image_file.ImageInfo
    record: BuildRecord | None
    checksum: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What all boots found. `error` is why the image counts as one that does not boot."""

    boots: tuple[BootResult, ...]
    checks: tuple[CheckResult, ...]
    consoles: tuple[report.Console, ...]
    error: BootError | None


def read_subject(path: Path) -> Subject:
    """Look at the image and what is beside it; raises InputError where it is no image to boot."""
    info = image_file.read_image_info(path)
    stem = path.name.removesuffix(".qcow2")
    record_path = path.with_name(f"{stem}.build.json")
    checksum_path = image_file.checksum_path(path)
    return Subject(
        path=path,
        stem=stem,
        info=info,
        record=read_record(record_path, BuildRecord) if record_path.exists() else None,
        checksum=checksum_path.read_text(encoding="utf-8", errors="replace") if checksum_path.exists() else None,
    )


def qemu_version() -> str:
    """QEMU's own words on what it is."""
    return run([QEMU, "--version"], timeout=30).stdout.partition("\n")[0].strip()


async def boot_all(bench: Bench, folder: Path, reporter: Reporter) -> Results:
    """Boot once per scenario. Where the first does not come up, the others would only wait for nothing."""
    outcomes: list[BootOutcome] = []
    checks: list[CheckResult] = []
    for make in scenarios.SCENARIOS:
        scenario = make(bench)
        if outcomes and outcomes[0].error is not None:
            checks += scenarios.not_booted(scenario, f"the boot {outcomes[0].result.name} did not come up")
            continue
        own = folder / scenario.name
        own.mkdir()
        title = f"Boot `{scenario.name}` ({scenario.shape.memory_mib} MiB, {scenario.shape.cpus} CPUs)"
        with reporter.step(title):
            outcome = await scenarios.run_scenario(bench, scenario, own)
        reporter.note(f"         {report.count(outcome.checks)}")
        outcomes.append(outcome)
        checks += outcome.checks
    checks += scenarios.compare_clones(outcomes)
    return Results(
        boots=tuple(outcome.result for outcome in outcomes),
        checks=tuple(checks),
        consoles=tuple(report.Console(boot=outcome.result.name, text=outcome.console) for outcome in outcomes),
        error=next((outcome.error for outcome in outcomes if outcome.error is not None), None),
    )


def publish(
    document: ValidationReport, consoles: Sequence[report.Console], folder: Path, output: Path, stem: str
) -> None:
    """Make the evidence appear in `output`, the report last, and nothing of an earlier run beside it."""
    write_atomic(folder / f"{stem}.{REPORT}", document.to_json())
    write_atomic(folder / f"{stem}.validation.xml", report.render_junit(document))
    write_atomic(folder / f"{stem}.validation.md", report.render_markdown(document))
    write_atomic(folder / f"{stem}.console.log", report.render_console(consoles))
    for name in (scenarios.SCREENSHOT, scenarios.CHART):
        made = folder / "full" / name
        if made.exists():
            made.rename(folder / f"{stem}.{name}")
    # A build that publishes the same names at the same time holds this lock too.
    with exclusive(output / ".lock"):
        publish_together(
            sorted(folder.glob(f"{stem}.*")),
            output,
            supersedes=[output / f"{stem}.{name}" for name in EVIDENCE],
            last=f"{stem}.{REPORT}",
        )
