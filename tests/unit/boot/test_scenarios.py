import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci.boot import scenarios
from ci.boot.boot import Boot, BootSettings, Scenario
from ci.boot.vm import machine, ssh
from ci.boot.vm.machine import Shutdown
from ci.boot.vm.qemu import SCSI_DISK, SEED_CD, VIRTIO_DISK, ConsumerSpec, MachineSpec
from ci.boot.vm.ssh import CommandResult
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import BootError, HostError
from ci.records.validation import CheckResult, Outcome
from tests.support.fake_machine import PANIC, POWERED_OFF, FakeSession, World

TCG = Acceleration(accelerator=Accelerator.TCG, reason="chosen")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    fake = World()

    @asynccontextmanager
    async def start(spec: MachineSpec | ConsumerSpec, _acceleration: Acceleration, _folder: Path) -> AsyncIterator[Any]:
        if fake.start_error:
            raise fake.start_error
        fake.machine.specs.append(spec)
        yield fake.machine

    async def connect(*_: object) -> FakeSession:
        return fake.session

    async def offered_methods(*_: object) -> tuple[str, ...]:
        return fake.methods

    async def login_accepted(_port: int, user: str, method: str, _secret: object) -> bool:
        return (user, method) in fake.accepted

    monkeypatch.setattr(machine, "start", start)
    monkeypatch.setattr(scenarios, "make_seed", lambda folder, *_, **_instance: folder / "seed.img")
    monkeypatch.setattr(ssh, "connect", connect)
    monkeypatch.setattr(ssh, "offered_methods", offered_methods)
    monkeypatch.setattr(ssh, "login_accepted", login_accepted)
    return fake


def settings(identity: ssh.Key | None = None) -> BootSettings:
    return BootSettings(image=Path("image.qcow2"), acceleration=TCG, identity=identity)


FULL, CLONE, CONSUMER, SEED = scenarios.all_scenarios(2048)


def play(scenario: Scenario, folder: Path, identity: ssh.Key | None = None) -> Boot:
    boot = Boot(scenario=scenario, settings=settings(identity), folder=folder)
    asyncio.run(boot.run())
    return boot


def by_id(outcome: Boot) -> dict[str, CheckResult]:
    return {check.id: check for check in outcome.checks}


@pytest.mark.parametrize("scenario", [FULL, CLONE, CONSUMER, SEED])
def test_each_planned_check_has_one_result_in_the_order_of_the_plan(
    scenario: Scenario, world: World, tmp_path: Path
) -> None:
    outcome = play(scenario, tmp_path)
    assert outcome.error is None
    assert [check.id for check in outcome.checks] == [check.id for check in scenario.planned]
    assert world.machine.specs[0].image == Path("image.qcow2")


@pytest.mark.parametrize("scenario", [FULL, CLONE, CONSUMER, SEED])
def test_a_boot_that_fails_is_a_failure_with_its_console_and_skips_the_rest(
    scenario: Scenario, world: World, tmp_path: Path
) -> None:
    world.machine.login_error = PANIC
    outcome = play(scenario, tmp_path)
    assert outcome.error is PANIC
    assert outcome.console is world.machine.console
    assert [check.id for check in outcome.checks] == [check.id for check in scenario.planned]
    assert by_id(outcome)["came-up"].outcome is Outcome.FAILED
    assert by_id(outcome)["came-up"].actual == "the kernel panicked\nlast line of the console"
    assert by_id(outcome)["failed-units"].outcome is Outcome.SKIPPED
    assert by_id(outcome)["failed-units"].actual == "not reached: the kernel panicked"


def kept(scenario: Scenario, folder: Path) -> list[str]:
    """What is told of the machines that stay."""
    told: list[str] = []
    boot = Boot(scenario=scenario, settings=replace(settings(), keep_running=told.append), folder=folder)
    asyncio.run(boot.run())
    return told


def test_the_machine_of_a_failed_boot_stays_with_the_way_in_and_the_test_goes_on(world: World, tmp_path: Path) -> None:
    world.session.answers["bash -o pipefail -c 'systemctl is-system-running --wait'"] = "degraded"
    (told,) = kept(FULL, tmp_path)
    assert "system-running" in told
    assert f"ssh -i {tmp_path / 'id'} -p " in told
    assert "sudo poweroff" in told
    assert (tmp_path / "id").stat().st_mode & 0o777 == 0o600
    assert ssh.load_key((tmp_path / "id").read_text()).public.split()[1] in world.machine.keys[0][1]
    assert world.machine.kept == 1


def test_a_machine_that_let_nobody_in_stays_too(world: World, tmp_path: Path) -> None:
    world.machine.login_error = PANIC
    (told,) = kept(FULL, tmp_path)
    assert "the kernel panicked" in told
    assert f"tail -f {tmp_path / machine.CONSOLE_LOG}" in told


def test_a_machine_that_is_gone_cannot_stay_and_nobody_waits_for_one_unasked(world: World, tmp_path: Path) -> None:
    world.machine.login_error = PANIC
    play(FULL, tmp_path)
    assert world.machine.kept == 0
    world.machine.ended = True
    assert kept(FULL, tmp_path) == []


def test_what_was_found_before_the_guest_was_lost_is_kept(world: World, tmp_path: Path) -> None:
    world.machine.lost_at = "the answers of the guest"
    world.session.answers["bash -o pipefail -c 'systemctl is-system-running --wait'"] = "running"
    outcome = play(FULL, tmp_path)
    assert by_id(outcome)["came-up"].outcome is Outcome.FAILED
    assert by_id(outcome)["system-running"].outcome is Outcome.PASSED
    assert by_id(outcome)["clean-shutdown"].outcome is Outcome.SKIPPED
    assert outcome.result.ssh_seconds == 12.35


def test_a_command_that_does_not_end_fails_alone(world: World, tmp_path: Path) -> None:
    world.session.answers["bash -o pipefail -c 'git --version'"] = BootError("`git` did not end within 180 s")
    world.session.answers["bash -o pipefail -c 'systemctl is-system-running --wait'"] = "running"
    outcome = play(FULL, tmp_path)
    assert outcome.error is None
    assert (by_id(outcome)["git-runs"].outcome, by_id(outcome)["git-runs"].actual) == (
        Outcome.FAILED,
        "`git` did not end within 180 s",
    )
    assert by_id(outcome)["system-running"].outcome is Outcome.PASSED
    assert by_id(outcome)["clean-shutdown"].outcome is Outcome.PASSED


def test_the_start_is_over_before_anything_else_is_asked(world: World, tmp_path: Path) -> None:
    play(FULL, tmp_path)
    assert "is-system-running --wait" in world.session.commands[0]


def test_lines_of_trouble_on_the_console_fail(world: World, tmp_path: Path) -> None:
    world.machine.console.problems = lambda: ("[FAILED] Failed to start ssh.service",)
    check = by_id(play(CLONE, tmp_path))["console-clean"]
    assert (check.outcome, check.actual) == (Outcome.FAILED, "[FAILED] Failed to start ssh.service")


def test_a_fault_of_the_host_is_not_blamed_on_the_image(world: World, tmp_path: Path) -> None:
    world.start_error = HostError("port 2222 is already in use")
    with pytest.raises(HostError):
        play(FULL, tmp_path)


@pytest.mark.parametrize(
    ("ended", "outcome", "words"),
    [
        (POWERED_OFF, Outcome.PASSED, "guest-shutdown, exit code 0"),
        (Shutdown(reason="", exit_code=0), Outcome.PASSED, "no monitor"),
        (Shutdown(reason="", exit_code=1), Outcome.FAILED, "exit code 1"),
        (Shutdown(reason="guest-shutdown", exit_code=1), Outcome.FAILED, "exit code 1"),
        (Shutdown(reason="guest-reset", exit_code=0), Outcome.FAILED, "guest-reset"),
        (Shutdown(reason="host-signal", exit_code=0), Outcome.FAILED, "host-signal"),
        (BootError("the guest did not power off within 180 s"), Outcome.FAILED, "did not power off"),
    ],
)
def test_only_a_guest_that_powers_itself_off_shut_down_cleanly(
    ended: Shutdown | BootError, outcome: Outcome, words: str, world: World, tmp_path: Path
) -> None:
    world.machine.shutdown = ended
    found = play(CLONE, tmp_path)
    assert by_id(found)["clean-shutdown"].outcome is outcome
    assert words in by_id(found)["clean-shutdown"].actual
    assert found.error is None


@pytest.mark.parametrize(
    ("accepted", "check_id"),
    [
        (("fountain", "password"), "password-refused"),
        (("fountain", "keyboard-interactive"), "keyboard-interactive-refused"),
        (("root", "publickey"), "root-login-refused"),
    ],
)
def test_a_door_that_opens_fails_its_own_check_only(
    accepted: tuple[str, str], check_id: str, world: World, tmp_path: Path
) -> None:
    doors = {"password-refused", "keyboard-interactive-refused", "root-login-refused", "ssh-methods", "ssh-3023"}
    world.accepted.add(accepted)
    found = by_id(play(FULL, tmp_path))
    assert {name for name in doors if found[name].outcome is Outcome.FAILED} == {check_id}
    assert found[check_id].actual == "a login"


def test_a_second_method_on_offer_fails(world: World, tmp_path: Path) -> None:
    world.methods = ("publickey", "password")
    check = by_id(play(FULL, tmp_path))["ssh-methods"]
    assert (check.outcome, check.actual) == (Outcome.FAILED, "publickey, password")


def test_root_is_given_the_key_only_after_the_guest_was_searched_for_keys(world: World, tmp_path: Path) -> None:
    play(FULL, tmp_path)
    searched = next(index for index, command in enumerate(world.session.commands) if "authorized_keys*" in command)
    assert world.session.commands.index(scenarios.GIVE_ROOT_THE_KEY) > searched


@pytest.mark.parametrize("answer", ["1", "4000000000", "not a number", ""])
def test_a_wrong_clock_fails(answer: str, world: World, tmp_path: Path) -> None:
    world.session.answers["date +%s"] = answer
    assert by_id(play(FULL, tmp_path))["clock"].outcome is Outcome.FAILED


def test_the_clock_is_set_back_once_it_was_found_to_be_right(world: World, tmp_path: Path) -> None:
    play(FULL, tmp_path)
    asked = [command for command in world.session.commands if command in ("date +%s", scenarios.FALL_BEHIND)]
    assert asked == ["date +%s", scenarios.FALL_BEHIND, "date +%s"]


@pytest.mark.parametrize(("size", "grown"), [("39\n", True), ("19\n", False), ("41\n", False), ("df: none\n", False)])
def test_the_root_must_fill_the_larger_disk(size: str, grown: bool, world: World, tmp_path: Path) -> None:  # noqa: FBT001
    world.session.answers[scenarios.GROW] = size
    assert (by_id(play(CLONE, tmp_path))["larger-disk"].outcome is Outcome.PASSED) == grown
    assert world.machine.disk_gib == scenarios.LARGER_GIB


@pytest.mark.parametrize(("read", "outcome"), [("written\n", Outcome.PASSED), ("", Outcome.FAILED)])
def test_a_second_disk_must_keep_what_is_written(read: str, outcome: Outcome, world: World, tmp_path: Path) -> None:
    world.session.answers[scenarios.USE_SECOND] = read
    assert by_id(play(CLONE, tmp_path))["second-disk"].outcome is outcome
    assert world.machine.disks == [tmp_path / "second.raw"]


def test_two_boots_are_on_other_hardware_than_the_consumers(world: World, tmp_path: Path) -> None:
    play(CLONE, tmp_path)
    play(SEED, tmp_path)
    specs = [spec for spec in world.machine.specs if isinstance(spec, MachineSpec)]
    assert [(spec.machine, spec.disk) for spec in specs] == [("q35", SCSI_DISK), ("pc", VIRTIO_DISK)]
    assert specs[1].seed_drive == SEED_CD


def test_a_share_that_takes_nothing_fails_with_the_guests_words(world: World, tmp_path: Path) -> None:
    assert world.session.answers == {}
    check = by_id(play(CONSUMER, tmp_path))["share-writable"]
    assert (check.outcome, check.actual) == (
        Outcome.FAILED,
        "No such file or directory on the host; in the guest: no error",
    )


@pytest.mark.parametrize(
    ("stale", "listed", "actual"),
    [
        (1, "", "as before"),
        (2, "", "as before"),
        (0, f"{scenarios.LIVE_FILE}\nknown.txt", "the file is still there"),
        (0, "known.txt", "the file made, changed and removed"),
    ],
)
def test_the_share_must_follow_the_host(stale: int, listed: str, actual: str, world: World, tmp_path: Path) -> None:
    class Workspace(FakeSession):
        async def run(self, command: str, timeout: float) -> CommandResult:  # noqa: ASYNC109
            if command == f"cat /mnt/work/{scenarios.LIVE_FILE}":
                text = (tmp_path / "workspace" / scenarios.LIVE_FILE).read_text(encoding="utf-8")
                self.answers[command] = "as before" if self.commands.count(command) + 1 == stale else text
            return await super().run(command, timeout)

    world.session = Workspace(answers={"ls /mnt/work": listed})
    check = by_id(play(CONSUMER, tmp_path))["share-live"]
    assert (check.outcome is Outcome.PASSED, check.actual) == (listed == "known.txt", actual)


def test_memory_is_asked_about_when_everything_else_was_done(world: World, tmp_path: Path) -> None:
    play(CONSUMER, tmp_path)
    assert "oom-kill" in [command for command in world.session.commands if "shutdown" not in command][-1]


def test_without_an_identity_the_agent_adds_a_key_made_for_this_boot(world: World, tmp_path: Path) -> None:
    play(FULL, tmp_path)
    play(CLONE, tmp_path)
    (first_user, first_key), (second_user, second_key) = world.machine.keys
    assert (first_user, second_user) == ("fountain", "fountain")
    assert first_key != second_key
    assert first_key.startswith("ssh-ed25519 ")


def test_with_an_identity_nothing_is_added_to_the_guest_or_to_the_consumers_arguments(
    world: World, tmp_path: Path
) -> None:
    play(CONSUMER, tmp_path, identity=ssh.new_key())
    assert world.machine.keys == []
    (spec,) = world.machine.specs
    assert isinstance(spec, ConsumerSpec)
    assert not spec.instruments
    assert spec.memory_mib is None
    assert spec.exports == {"scratch": tmp_path / "export"}


def test_the_consumers_boot_has_instruments_where_there_is_no_other_way_in(world: World, tmp_path: Path) -> None:
    play(CONSUMER, tmp_path)
    assert world.machine.specs[0].instruments


def test_the_seed_is_the_only_way_into_its_boot(world: World, tmp_path: Path) -> None:
    outcome = play(SEED, tmp_path, identity=ssh.new_key())
    assert world.machine.keys == []
    (spec,) = world.machine.specs
    assert isinstance(spec, MachineSpec)
    assert spec.seed == tmp_path / "seed.img"
    assert by_id(outcome)["seed-key"].outcome is Outcome.PASSED


def test_the_seed_asks_for_passwords_so_that_their_refusal_means_something() -> None:
    text = scenarios.seed_user_data(public_key='ssh-ed25519 AAAA "quoted"', marker="m", password="p")  # noqa: S106
    first, _, rest = text.partition("\n")
    settings = json.loads(rest)
    assert first == "#cloud-config"
    assert (settings["ssh_pwauth"], settings["password"]) == (True, "p")
    assert settings["ssh_authorized_keys"] == ['ssh-ed25519 AAAA "quoted"']


def test_a_given_port_is_used_with_the_next_one(world: World, tmp_path: Path) -> None:
    common = BootSettings(image=Path("image.qcow2"), acceleration=TCG, port=4000)
    asyncio.run(Boot(scenario=FULL, settings=common, folder=tmp_path).run())
    (spec,) = world.machine.specs
    assert isinstance(spec, MachineSpec)
    assert spec.forwards == {4000: 22, 4001: 3023}


def test_without_a_build_record_its_comparisons_are_skipped_and_the_rest_stays(world: World, tmp_path: Path) -> None:
    outcome = play(FULL, tmp_path)
    skipped = {check.id: check.actual for check in outcome.checks if check.outcome is Outcome.SKIPPED}
    assert skipped == dict.fromkeys(("authorized-keys", "image-json"), "no build record beside the image")
    assert not any("image.json" in command for command in world.session.commands)


def boot_of(scenario: Scenario, machine_id: str, host_key: str) -> Boot:
    return Boot(scenario=scenario, settings=settings(), folder=Path(), machine_id=machine_id, host_key=host_key)


@pytest.mark.parametrize(
    ("machine_id", "host_key", "expected"),
    [
        ("two", "two", [Outcome.PASSED, Outcome.PASSED]),
        ("two", "one", [Outcome.FAILED, Outcome.PASSED]),
        ("one", "two", [Outcome.PASSED, Outcome.FAILED]),
        ("", "two", [Outcome.SKIPPED, Outcome.SKIPPED]),
    ],
)
def test_two_starts_must_be_two_machines(machine_id: str, host_key: str, expected: list[Outcome]) -> None:
    outcomes = [boot_of(FULL, "one", "one"), boot_of(CLONE, machine_id, host_key)]
    assert [(check.boot, check.outcome) for check in scenarios.compare_clones(outcomes)] == [
        ("clone", outcome) for outcome in expected
    ]


def test_without_a_second_start_nothing_is_compared() -> None:
    assert {check.outcome for check in scenarios.compare_clones([])} == {Outcome.SKIPPED}


def test_two_starts_are_told_apart_by_their_machine_ids_and_host_keys(world: World, tmp_path: Path) -> None:
    world.session.answers["bash -o pipefail -c 'cat /etc/machine-id'"] = "abc\n"
    outcome = play(CLONE, tmp_path)
    assert (outcome.machine_id, outcome.host_key) == ("abc", "ssh-ed25519 AAAA")
