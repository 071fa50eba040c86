import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci import validate_image
from ci.boot import all_boots, report, scenarios
from ci.boot.all_boots import AllBoots, Capacity
from ci.boot.boot import Boot, BootSettings, Ports
from ci.boot.vm import ssh
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import BootError, CheckError, InputError, ToolsmithError
from ci.records.validation import CheckResult, Outcome, ValidationReport
from ci.validate_image import ValidateRequest
from tests.support.quiet import quiet_reporter

SETTINGS = BootSettings(
    image=Path("image.qcow2"), acceleration=Acceleration(accelerator=Accelerator.TCG, reason="chosen")
)
ALONE = Capacity(cpus=2, memory_mib=4096, at_most=1)
PANIC = BootError("the kernel panicked", hint="Read the console.", details="the last line")


def check(outcome: Outcome, check_id: str = "a-check") -> CheckResult:
    return CheckResult(
        id=check_id, boot="full", title="A check", expected="x", actual="y", outcome=outcome, seconds=0.0
    )


def make_report(*checks: CheckResult) -> ValidationReport:
    return ValidationReport(
        image="image.qcow2",
        image_sha256="a" * 64,
        version="v2026.11.23",
        passed=all(check.outcome is not Outcome.FAILED for check in checks),
        started_at=datetime(2026, 11, 23, tzinfo=UTC),
        accelerator="tcg",
        accelerator_reason="chosen",
        qemu="QEMU",
        boots=[],
        checks=list(checks),
        seconds=1.0,
    )


def boot_all(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    play: Callable[[Boot, Ports], Awaitable[None]],
    capacity: Capacity = ALONE,
) -> AllBoots:
    async def played(boot: Boot, ports: Ports) -> None:
        await play(boot, ports)
        boot.checks = [check.result(boot.name, passed=True, actual="") for check in boot.scenario.planned]

    made = [replace(scenario, play=played) for scenario in scenarios.all_scenarios(SETTINGS.memory_mib)]
    monkeypatch.setattr(scenarios, "all_scenarios", lambda _memory_mib: made)
    return asyncio.run(all_boots.boot_all(SETTINGS, folder, quiet_reporter(), capacity))


def failing(name: str) -> Callable[[Boot, Ports], Awaitable[None]]:
    async def play(boot: Boot, _ports: Ports) -> None:
        if boot.name == name:
            raise PANIC

    return play


def test_all_four_boots_are_tried_even_where_a_later_one_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = boot_all(monkeypatch, tmp_path, failing("consumer"))
    assert [boot.name for boot in results.boots] == ["full", "clone", "consumer", "seed"]
    assert results.error is PANIC


def test_where_the_first_boot_fails_the_others_are_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = boot_all(monkeypatch, tmp_path, failing("full"))
    assert [boot.name for boot in results.boots] == ["full"]
    others = [check for check in results.checks if check.boot in ("consumer", "seed")]
    assert {check.outcome for check in others} == {Outcome.SKIPPED}
    assert {check.actual for check in others} == {"the boot full did not come up"}
    named = {(check.boot, check.id) for check in results.checks}
    planned = {
        (scenario.name, planned.id)
        for scenario in scenarios.all_scenarios(SETTINGS.memory_mib)
        for planned in scenario.planned
    }
    assert planned <= named


@pytest.mark.parametrize("capacity", [ALONE, replace(ALONE, at_most=3), replace(ALONE, cpus=9, at_most=None)])
def test_the_first_boot_is_alone_and_the_report_in_order(
    capacity: Capacity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running: set[str] = set()

    async def play(boot: Boot, _ports: Ports) -> None:
        assert running.isdisjoint({"full"})
        running.add(boot.name)
        for _ in range({"full": 20, "clone": 9, "consumer": 6, "seed": 3}[boot.name]):
            await asyncio.sleep(0)
        running.remove(boot.name)

    results = boot_all(monkeypatch, tmp_path, play, capacity)
    assert [boot.name for boot in results.boots] == ["full", "clone", "consumer", "seed"]


def test_boots_that_share_processors_have_longer_limits_and_the_first_has_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limits: dict[str, float] = {}

    async def play(boot: Boot, _ports: Ports) -> None:
        limits[boot.name] = boot.limit(10)

    boot_all(monkeypatch, tmp_path, play, replace(ALONE, at_most=2))
    assert limits == {"full": 60.0, "clone": 120.0, "consumer": 120.0, "seed": 120.0}


@pytest.mark.parametrize(
    ("flags", "at_most"), [([], None), (["--side-by-side", "auto"], None), (["--port", "4000"], 1)]
)
def test_how_many_at_a_time_is_for_the_machine_to_say_unless_a_port_is_named(
    flags: list[str], at_most: int | None
) -> None:
    asked = validate_image.request(validate_image.arguments().parse_args(["image.qcow2", *flags]))
    assert validate_image.capacity(asked.port, asked.at_most).at_most == at_most


def test_the_flags_fill_the_request_and_without_them_it_is_the_default() -> None:
    flags = [
        "image.qcow2", "--identity", "key", "--accel", "tcg", "--port", "4000", "--output", "out", "--memory", "512",
        "--side-by-side", "1", "--boot-timeout", "10",
    ]  # fmt: skip
    everything = ValidateRequest(
        image=Path("image.qcow2"),
        identity=Path("key"),
        accelerator="tcg",
        port=4000,
        output=Path("out"),
        memory_mib=512,
        at_most=1,
        boot_seconds=10,
    )
    assert validate_image.request(validate_image.arguments().parse_args(flags)) == everything
    plain = validate_image.request(validate_image.arguments().parse_args(flags[:1]))
    assert plain == ValidateRequest(image=Path("image.qcow2"))


def test_one_pair_of_ports_is_not_for_two_boots() -> None:
    flags = ["image.qcow2", "--port", "4000", "--side-by-side", "2"]
    asked = validate_image.request(validate_image.arguments().parse_args(flags))
    with pytest.raises(InputError, match="not of 2 side by side"):
        validate_image.capacity(asked.port, asked.at_most)


@pytest.mark.parametrize(
    ("report", "error", "raised"),
    [
        (make_report(check(Outcome.FAILED)), PANIC, BootError),
        (make_report(check(Outcome.FAILED)), None, CheckError),
    ],
)
def test_a_failure_is_raised_and_names_the_report(
    report: ValidationReport, error: BootError | None, raised: type[ToolsmithError], tmp_path: Path
) -> None:
    with pytest.raises(raised) as caught:
        validate_image.conclude(report, error, tmp_path / "image.validation.md")
    assert "image.validation.md" in caught.value.hint


def test_a_skipped_check_is_no_failure(tmp_path: Path) -> None:
    validate_image.conclude(make_report(check(Outcome.PASSED), check(Outcome.SKIPPED)), None, tmp_path)


def test_the_failed_checks_are_named_once_each(tmp_path: Path) -> None:
    report = make_report(check(Outcome.FAILED, "one"), check(Outcome.FAILED, "two"), check(Outcome.FAILED, "one"))
    with pytest.raises(CheckError, match="2 checks failed: one, two"):
        validate_image.conclude(report, None, tmp_path)


def test_the_evidence_stands_beside_the_image_and_nothing_old_with_it(tmp_path: Path) -> None:
    output, folder = tmp_path / "dist", tmp_path / "work"
    (folder / "full").mkdir(parents=True)
    output.mkdir()
    (folder / "full" / "full.console.png").write_bytes(b"png")
    for name in ("image.boot.svg", "image.validation.xml", "image.packages.tsv", "other.boot.svg"):
        (output / name).write_text("old")
    report.publish_evidence(make_report(), [("full", "hello")], folder, output, "image")
    assert {path.name for path in output.iterdir() if not path.name.startswith(".")} == {
        "image.validation.json",
        "image.validation.xml",
        "image.validation.md",
        "image.console.log",
        "image.console.png",
        "image.packages.tsv",
        "other.boot.svg",
    }
    assert json.loads((output / "image.validation.json").read_text())["image"] == "image.qcow2"
    assert (output / "image.validation.xml").read_text() != "old"
    assert "hello" in (output / "image.console.log").read_text()


@pytest.mark.parametrize("content", [None, "", "not a key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_an_identity_that_is_no_private_key_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="not a private key that can be used"):
        validate_image.read_identity(path, None)


def test_an_identity_that_the_image_does_not_let_in_is_refused_before_any_boot(tmp_path: Path) -> None:
    key = ssh.new_key()
    path = tmp_path / "key"
    path.write_bytes(key.private.export_private_key())
    assert validate_image.read_identity(path, [key.private.get_fingerprint()]) == key
    assert validate_image.read_identity(path, None) == key
    with pytest.raises(InputError, match="does not let"):
        validate_image.read_identity(path, ["SHA256:other"])


@pytest.mark.parametrize(
    "flag", [["--port", "22"], ["--port", "65535"], ["--memory", "0"], ["--accel", "hvf"], ["--side-by-side", "0"]]
)
def test_a_value_that_cannot_work_is_refused_with_the_flags(flag: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        validate_image.arguments().parse_args(["image.qcow2", *flag])
    assert caught.value.code == 2
