import pytest

from ci.boot.start import KERNEL, LOADER, LOGIN, MOST_UNITS, draw_start, parts
from ci.host.repository import ROOT
from ci.records.validation import BootResult
from tests.support.plain_svg import is_plain_svg


def unit(name: str, begin: object, end: object) -> str:
    return f"Id={name}\nInactiveExitTimestampMonotonic={begin}\nActiveEnterTimestampMonotonic={end}\n"


def said(*units: str, uptime: str = "20.50 30.0", userspace: object = 4_000_000) -> str:
    return "\n".join((f"UserspaceTimestampMonotonic={userspace}\n", *units)) + f"{uptime}\n"


def test_loader_kernel_and_units_follow_each_other_on_one_clock() -> None:
    found = parts(said(unit("a.service", 5_000_000, 7_500_000), unit(LOGIN, 9_000_000, 9_500_000)), 23.0, None)
    assert [(part.name, part.begin, part.seconds) for part in found] == [
        (LOADER, 0.0, 2.5), (KERNEL, 2.5, 4.0), ("a.service", 7.5, 2.5), (LOGIN, 11.5, 0.5),
    ]  # fmt: skip


def test_what_a_real_guest_said_is_believed() -> None:
    """It listed its units for 6 s; sshd was ready 5 s before the login, which took the rest."""
    text = (ROOT / "tests/support/data/bookworm-start.txt").read_text(encoding="utf-8")
    found = parts(text, 63.00, 30.18)
    assert [(part.name, round(part.begin, 1), round(part.seconds, 1)) for part in found] == [
        (LOADER, 0.0, 8.0), (KERNEL, 8.0, 7.9), ("fountainkit-hostkeys.service", 21.9, 1.5),
        ("fountainkit-network.service", 21.9, 1.2), ("fountainkit-shares.service", 22.0, 1.3),
        ("systemd-udevd.service", 22.1, 2.5), ("systemd-journald.service", 22.2, 1.9), (LOGIN, 23.4, 1.0),
    ]  # fmt: skip


def test_only_what_takes_long_before_the_login_is_shown_and_the_login_always_is() -> None:
    units = [unit(f"u{number}.service", 1_000_000 * number, 1_050_000 * number) for number in range(1, 40)]
    names = [part.name for part in parts(said(*units, unit(LOGIN, 30_500_000, 30_500_000)), 25.0, None)][2:]
    assert names == [*(f"u{number}.service" for number in range(31 - MOST_UNITS + 1, 31)), LOGIN]


@pytest.mark.parametrize(
    "text", ["", "x", "1e9 2\n", "20.5 1\nUserspaceTimestampMonotonic=-1\n", "\n\n\n", "1.0 2.0\n"]
)
def test_what_makes_no_sense_is_nothing(text: str) -> None:
    assert parts(text, 20.0, None) == ()


@pytest.mark.parametrize(
    "broken",
    [
        unit("a<b>.service", 1, 2), unit("a.service", 0, 2), unit("a.service", 5, 2), unit("a.service", "", ""),
        unit("a.service", "9" * 30, "9" * 30), "Id=a.service\n", "=\n",
    ],
)  # fmt: skip
def test_a_unit_that_makes_no_sense_is_left_out(broken: str) -> None:
    assert [part.name for part in parts(said(broken, unit(LOGIN, 1, 2)), 20.0, None)] == [LOADER, KERNEL, LOGIN]


def test_a_unit_that_takes_no_time_is_left_out() -> None:
    units = (unit("a.mount", 5_000_000, 5_001_000), unit(LOGIN, 9_000_000, 9_000_000))
    assert [part.name for part in parts(said(*units), 20.0, None)] == [LOADER, KERNEL, LOGIN]


@pytest.mark.parametrize(("login_seconds", "believed"), [(12.0, True), (11.0, True), (10.0, False), (70.0, True)])
def test_a_guest_whose_clock_stood_still_is_not_believed(login_seconds: float, *, believed: bool) -> None:
    """Its sshd was ready after 12 s, by its own clock and the machine's; on a busy one the login takes its time."""
    assert bool(parts(said(unit(LOGIN, 9_000_000, 9_500_000)), 23.0, login_seconds)) is believed


@pytest.mark.parametrize(("elapsed", "loader"), [(20.6, 0.1), (20.4, 0.0), (19.6, 0.0), (19.4, None)])
def test_a_guest_whose_clock_is_ahead_of_the_machines_is_not_believed(elapsed: float, loader: float | None) -> None:
    """It had run for 20.5 s, it says."""
    assert [part.seconds for part in parts(said(), elapsed, None)[:1]] == (
        [] if loader is None else [pytest.approx(loader)]
    )


def test_the_picture_says_when_the_login_was_there_and_is_plain() -> None:
    boot = BootResult(
        name="full", memory_mib=1, cpus=1, login_prompt_seconds=None, ssh_seconds=12.3, total_seconds=20.0,
        start=parts(said(unit(LOGIN, 9_000_000, 9_500_000)), 23.0, None),
    )  # fmt: skip
    drawn = draw_start(boot, "tcg")
    assert is_plain_svg(drawn)
    for words in ("SSH after 12.3 s, with tcg", LOADER, "2.5 s", LOGIN):
        assert words in drawn
