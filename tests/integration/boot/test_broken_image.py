"""A real image with many faults: the boot test must find each of them, and nothing else."""

import asyncio
import re
import shutil
from collections.abc import Awaitable
from pathlib import Path

import pytest

from ci.boot import scenarios
from ci.boot.all_boots import AllBoots, boot_all, this_machine
from ci.boot.boot import BootSettings
from ci.boot.scenarios import all_scenarios
from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.repository import ROOT
from ci.records.validation import Outcome
from tests.support.building import Built
from tests.support.quiet import quiet_reporter

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

FOUND = {
    "admin-groups",
    "authorized-keys",
    "builder-files",
    "console-clean",
    "dbus-machine-id",
    "failed-units",
    "host-keys",
    "host-keys-fresh",
    "kernel-settings",
    "keyboard-interactive-refused",
    "login-users",
    "machine-id-fresh",
    "no-autoload",
    "no-passwords",
    "old-logs",
    "other-authorized-keys",
    "package-cache",
    "package-lists",
    "password-refused",
    "policy-rc-d",
    "private-files",
    "private-paths",
    "root-login-refused",
    "set-id",
    "ssh-methods",
    "sshd-hardened",
    "sshd-settings-fountain",
    "sshd-settings-root",
    "sudo-rules",
    "system-running",
}


def break_image(disk: Path, acceleration: Acceleration, folder: Path) -> None:
    with guestfish.session(disk, "qcow2", acceleration=acceleration, temporary=folder) as guest:
        guest.start()
        guest.command("mount", "/dev/sda1", "/")
        guest.command("upload", ROOT / "tests/support/guest/break.sh", "/root/break.sh")
        code, output = guest.shell("sh /root/break.sh && rm /root/break.sh", timeout=acceleration.scaled(120))
        assert code == 0, output


async def looked_into(boots: Awaitable[AllBoots], told: list[str]) -> AllBoots:
    """What the boots come to, while a person pastes the way into the machine that stays, and ends it."""
    running = asyncio.ensure_future(boots)
    while not told and not running.done():
        await asyncio.wait({running}, timeout=1)
    (login,) = re.findall(r"ssh -i .*", told[0])
    ended = await asyncio.create_subprocess_shell(f"{login} sudo poweroff")
    await ended.wait()
    return await running


def test_every_fault_of_a_broken_image_is_found(
    built: Built, acceleration: Acceleration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "broken.qcow2"
    shutil.copy(built.image, disk)
    break_image(disk, acceleration, tmp_path)
    monkeypatch.setattr(scenarios, "all_scenarios", lambda memory_mib: all_scenarios(memory_mib)[:1])
    told: list[str] = []
    settings = BootSettings(image=disk, acceleration=acceleration, record=built.record, keep_running=told.append)
    results = asyncio.run(looked_into(boot_all(settings, tmp_path, quiet_reporter(), this_machine(at_most=1)), told))
    assert results.error is None
    actual = {check.id: check.actual for check in results.checks if check.outcome is Outcome.FAILED}
    assert actual.keys() == FOUND
    # A fault that is not ours may not hide behind one.
    assert [line.split()[0] for line in actual["failed-units"].splitlines()] == ["broken.service"]
    assert (actual["login-users"], actual["set-id"]) == ("stranger", "chsh")
