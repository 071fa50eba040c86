from pathlib import Path

import pytest

from ci.comparison.image_facts import Evidence
from ci.comparison.pull_request import LIMIT, Before, read_evidence, render
from ci.host.errors import InputError
from ci.records.packages import Package
from ci.records.record import read_record
from ci.records.validation import CheckResult, Outcome, ValidationReport
from tests.support.releasing import PACKAGES, TAG, build_record, make_dist, validation_report
from tests.unit.comparison.test_image_facts import built

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"
RUN = "https://github.com/o/r/actions/runs/7"
URL = "https://github.com/o/r/releases/tag/v2026.10.01"


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Evidence]:
    return read_evidence(make_dist(tmp_path / "dist", image=b"x" * 3_000_000))


def before(
    *packages: Package, size: int = 2_000_000, seconds: float = 22.0, accelerator: str = "tcg", **changes: object
) -> Before:
    build = build_record()
    build = build.model_copy(update={"image": build.image.model_copy(update={"size": size})} | changes)
    report = validation_report(build, accelerator=accelerator)
    boots = [boot.model_copy(update={"ssh_seconds": seconds}) for boot in report.boots if boot.name == "full"]
    report = report.model_copy(update={"boots": boots})
    return Before(tag="v2026.10.01", url=URL, image=built("v2026.10.01", build, packages, report))


def text(
    found: dict[str, Evidence], past: Before | None = None, *, good: bool = True, images: tuple[str, ...] = ()
) -> str:
    earlier = {"bookworm": past} if past else {}
    return render(images or tuple(found), found, earlier, good=good, run=RUN)


def test_a_first_image_is_told_without_a_comparison(found: dict[str, Evidence]) -> None:
    report = text(found)
    assert report.startswith("### Images: good\n")
    assert "| `bookworm` | 2 passed | 3.0 MB | `full` 21.5 s, " in report
    assert "Compared with" not in report
    assert f"[The run]({RUN})" in report


def test_size_packages_and_start_are_compared_with_the_release_before(found: dict[str, Evidence]) -> None:
    old = Package(name="curl", version="7.88.1-1", architecture="amd64", installed_kib=500)
    report = text(found, before(old))
    assert "3.0 MB (+1.0 MB, +50.0 %)" in report
    assert "`full` 21.5 s (-0.5 s, -2.3 %), `clone` 21.5 s," in report
    assert "1 added, 1 upgraded" in report
    assert "<details><summary>Packages of bookworm</summary>" in report
    assert "`7.88.1-1`" in report
    assert f"Compared with [v2026.10.01]({URL})." in report


def test_what_stayed_the_same_is_said_and_not_listed(found: dict[str, Evidence]) -> None:
    report = text(found, before(*PACKAGES, size=3_000_000, seconds=21.5))
    assert "3.0 MB (unchanged)" in report
    assert "21.5 s (unchanged)" in report
    assert "<details>" not in report


def test_times_with_another_accelerator_are_not_compared(found: dict[str, Evidence]) -> None:
    report = text(found, before(*PACKAGES, accelerator="kvm"))
    assert "`full` 21.5 s, `clone`" in report
    assert "with `tcg`; the release ran with `kvm`" in report


def test_the_files_and_keys_that_changed_are_named() -> None:
    new = build_record(inputs={"build/guest/a": "1" * 64, "build/guest/b": "2" * 64}, authorized_keys=["SHA256:new"])
    found = {"bookworm": Evidence(build=new, packages=PACKAGES, report=None)}
    old = {"build/guest/a": "3" * 64, "build/guest/<c>": "2" * 64}
    report = text(found, before(*PACKAGES, definition_sha256="e" * 64, inputs=old, authorized_keys=[]))
    assert report.count("| 1 added, 1 removed, 1 changed |") == 1
    assert "<summary>Configuration of bookworm</summary>" in report
    for row in ("| added | `build/guest/b` |", "| removed | `build/guest/<c>` |", "| changed | `build/guest/a` |"):
        assert row in report
    assert "| added | `SHA256:new` |" in report
    same = text(found, before(*PACKAGES, definition_sha256="e" * 64, inputs=new.inputs))
    assert "| changed (who may run a file) |" in same
    assert "Configuration of" not in same


def test_a_check_that_fails_since_the_release_is_told_to_do_so(found: dict[str, Evidence]) -> None:
    one = found["bookworm"]
    assert one.report is not None
    checks = [check.model_copy(update={"outcome": Outcome.FAILED}) for check in one.report.checks[:1]]
    failed = one.report.model_copy(update={"passed": False, "checks": checks})
    report = text({"bookworm": Evidence(build=one.build, packages=one.packages, report=failed)}, before(*PACKAGES))
    assert "<summary>Checks of bookworm</summary>" in report
    assert "| `full` | `image-json` | passed | failed |" in report
    assert "| `full` | `ssh` | passed | - |" in report


def test_a_failed_check_is_shown_and_makes_the_images_not_good(found: dict[str, Evidence]) -> None:
    one = found["bookworm"]
    assert one.report is not None
    check = CheckResult(
        id="root-locked", boot="full", title="t", expected="locked", actual="@all | <b>no</b>\n", seconds=0.1,
        outcome=Outcome.FAILED,
    )  # fmt: skip
    failed = one.report.model_copy(update={"passed": False, "checks": [*one.report.checks, check]})
    report = text({"bookworm": Evidence(build=one.build, packages=one.packages, report=failed)})
    assert report.startswith("### Images: not good\n")
    assert "**2 passed, 1 failed**" in report
    assert f"`toolsmith-image validate dist/{one.build.image.file} --keep-running`" in report
    repeated = "[`root-locked`](https://github.com/o/r/blob/HEAD/docs/validation.md#root-locked)"
    row = rf"| `bookworm` | `full` | {repeated} | `locked` | `@all \x7c <b>no</b>\x0a` |"
    assert 0 < report.index(row) < report.index("boot test")


def test_an_image_that_was_not_built_or_not_tested_to_the_end_is_not_good(found: dict[str, Evidence]) -> None:
    assert text(found, images=("bookworm", "jammy")).startswith("### Images: not good\n")
    assert "| `jammy` | **not built** | - | - | - |" in text(found, images=("bookworm", "jammy"))
    one = found["bookworm"]
    untested = {"bookworm": Evidence(build=one.build, packages=one.packages, report=None)}
    assert "**did not end**" in text(untested)
    assert text(untested).startswith("### Images: not good\n")


def test_reports_alone_do_not_make_images_good_whose_jobs_failed(found: dict[str, Evidence]) -> None:
    assert text(found, good=False).startswith("### Images: not good\n")


def test_thousands_of_packages_are_cut_to_what_a_comment_may_hold(found: dict[str, Evidence]) -> None:
    old = [
        Package(name=f"package-with-a-long-name-{number}", version="1:2.3-4", architecture="amd64", installed_kib=1)
        for number in range(2000)
    ]
    report = text(found, before(*old))
    assert len(report.encode()) <= LIMIT
    assert "not shown here" in report


def test_a_report_is_not_needed_but_what_is_there_must_be_one(tmp_path: Path) -> None:
    folder = make_dist(tmp_path / "dist")
    (folder / f"{STEM}.validation.json").unlink()
    assert read_evidence(folder)["bookworm"].report is None
    (folder / f"{STEM}.validation.json").write_text("{}")
    with pytest.raises(InputError):
        read_evidence(folder)
    with pytest.raises(InputError):
        read_record(folder / f"{STEM}.validation.json", ValidationReport)
    for ending in (".validation.json", ".packages.tsv"):
        (folder / f"{STEM}{ending}").unlink()
    with pytest.raises(InputError, match=r"has no .*\.packages\.tsv"):
        read_evidence(folder)


def test_a_folder_without_images_has_no_evidence(tmp_path: Path) -> None:
    assert read_evidence(tmp_path / "none") == {}
