"""A whole validation: what is tested, all boots, and the evidence they leave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.boot import image_file, report, scenarios, side_by_side
from ci.boot.boot import Bench, BootOutcome
from ci.boot.side_by_side import Capacity
from ci.host.errors import BootError
from ci.host.files import publish_together, write_atomic
from ci.host.process import run
from ci.host.progress import Reporter, Step
from ci.host.qemu import QEMU
from ci.host.workspace import exclusive
from ci.records import artifacts
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
    stem = path.name.removesuffix(artifacts.IMAGE)
    record_path = path.with_name(f"{stem}{artifacts.BUILD}")
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


async def boot_all(bench: Bench, folder: Path, reporter: Reporter, capacity: Capacity) -> Results:
    """Boot once per scenario: the first alone, the others side by side as far as `capacity` allows.

    Where the first does not come up, the others would only wait for nothing.
    """
    first, *others = (make(bench) for make in scenarios.SCENARIOS)
    outcome = await _boot(_sharing(bench, [first], capacity), first, folder, reporter, reporter.step)
    outcomes, checks = [outcome], list(outcome.checks)
    if outcome.error is not None:
        for scenario in others:
            checks += scenarios.not_booted(scenario, f"the boot {first.name} did not come up")
    else:
        outcomes += await _boot_together(_sharing(bench, others, capacity), others, folder, reporter, capacity)
        checks += [check for outcome in outcomes[1:] for check in outcome.checks]
    checks += scenarios.compare_clones(outcomes)
    return Results(
        boots=tuple(outcome.result for outcome in outcomes),
        checks=tuple(checks),
        consoles=tuple(report.Console(boot=outcome.result.name, text=outcome.console) for outcome in outcomes),
        error=next((outcome.error for outcome in outcomes if outcome.error is not None), None),
    )


def _sharing(bench: Bench, planned: Sequence[scenarios.Scenario], capacity: Capacity) -> Bench:
    """The bench with limits for guests that have a processor for several of theirs."""
    slowdown = side_by_side.slowdown([scenario.shape for scenario in planned], capacity)
    return replace(bench, acceleration=replace(bench.acceleration, sharing=slowdown))


async def _boot_together(
    bench: Bench, planned: Sequence[scenarios.Scenario], folder: Path, reporter: Reporter, capacity: Capacity
) -> list[BootOutcome]:
    with reporter.side_by_side() as step:
        return await side_by_side.run_all(
            planned, lambda scenario: _boot(bench, scenario, folder, reporter, step), capacity
        )


async def _boot(
    bench: Bench,
    scenario: scenarios.Scenario,
    folder: Path,
    reporter: Reporter,
    step: Step,
) -> BootOutcome:
    own = folder / scenario.name
    own.mkdir()
    title = f"Boot `{scenario.name}` ({scenario.shape.memory_mib} MiB, {scenario.shape.cpus} CPUs)"
    with step(title, silence=bench.acceleration.silence):
        outcome = await scenarios.run_scenario(bench, scenario, own)
    reporter.note(f"         {report.count(outcome.checks)}")
    return outcome


def publish(
    document: ValidationReport, consoles: Sequence[report.Console], folder: Path, output: Path, stem: str
) -> None:
    """Make the evidence appear in `output`, the report last, and nothing of an earlier run beside it."""
    write_atomic(folder / f"{stem}.{REPORT}", document.to_json())
    write_atomic(folder / f"{stem}{artifacts.REPORT_JUNIT}", report.render_junit(document))
    write_atomic(folder / f"{stem}{artifacts.REPORT_MARKDOWN}", report.render_markdown(document))
    write_atomic(folder / f"{stem}{artifacts.CONSOLE_LOG}", report.render_console(consoles))
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
