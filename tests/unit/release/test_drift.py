from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci.comparison.pull_request import Evidence
from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.records.packages import Package
from ci.records.release import AssetRecord, ImageRelease, ValidationSummary
from ci.release.drift import Difference, Kind, Report, Rule, Verdict, differences, judge, read_rules
from tests.support.releasing import COMMIT, DAY, PACKAGES, TAG, build_record

BUILD = build_record()
QCOW2 = AssetRecord(name="a.qcow2", sha256=BUILD.image.sha256, size=1, url="https://github.com/o/r/a.qcow2")
PAST = ImageRelease(
    name="a",
    definition="bookworm",
    definition_sha256=BUILD.definition_sha256,
    distribution="debian-12",
    built_at=DAY,
    base=BUILD.base,
    kernel=BUILD.kernel,
    packages=len(PACKAGES),
    qcow2=QCOW2,
    virtual_size=BUILD.image.virtual_size,
    assets=[QCOW2],
    validation=ValidationSummary(passed=1, skipped=0, accelerator="tcg", ssh_seconds={}),
    attestation=None,
)
CURL, GIT = PACKAGES
UPGRADED = Difference(image="jammy", kind=Kind.UPGRADED, name="curl", before="1", after="2")
REASON = "It is so for a good reason."
REAL = read_rules(ROOT / "build/drift.toml")
HOSTILE = "x` @everyone\n\n# Fine <img src=x> | [a](javascript:b) #1"


def found(packages: tuple[Package, ...] = PACKAGES, **changes: Any) -> tuple[Difference, ...]:  # noqa: ANN401 - the fields of BuildRecord
    return differences(PAST, COMMIT, PACKAGES, Evidence(build=build_record(**changes), packages=packages, report=None))


# What differs


def test_the_same_build_does_not_differ() -> None:
    assert found(built_at=DAY.replace(year=2030), seconds=7.0, tools={"qemu-img": "9"}) == ()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (Kind.COMMIT, {"commit": "f" * 40}),
        (Kind.DEFINITION, {"definition_sha256": "f" * 64}),
        (Kind.KERNEL, {"kernel": "6.1.0-2-amd64"}),
        (Kind.BASE, {"base": BUILD.base.model_copy(update={"sha256": "f" * 64})}),
        (Kind.DISK, {"image": BUILD.image.model_copy(update={"virtual_size": 1})}),
        (Kind.BYTES, {"image": BUILD.image.model_copy(update={"sha256": "f" * 64})}),
    ],
)
def test_each_fact_is_compared(kind: Kind, changes: dict[str, Any]) -> None:
    assert [one.kind for one in found(**changes)] == [kind]


@pytest.mark.parametrize(
    ("kind", "packages", "before", "after"),
    [
        (Kind.REMOVED, (GIT,), CURL.version, ""),
        (Kind.ADDED, (*PACKAGES, replace(CURL, name="wget", version="1")), "", "1"),
        (Kind.UPGRADED, (replace(CURL, version="9"), GIT), CURL.version, "9"),
        (Kind.DOWNGRADED, (replace(CURL, version="1"), GIT), CURL.version, "1"),
    ],
)
def test_each_package_is_compared(kind: Kind, packages: tuple[Package, ...], before: str, after: str) -> None:
    (one,) = found(packages)
    assert (one.image, one.kind, one.before, one.after) == ("bookworm", kind, before, after)


def test_an_image_that_was_not_built_differs_in_that_alone() -> None:
    assert differences(PAST, COMMIT, PACKAGES, None) == (Difference(image="bookworm", kind=Kind.NOT_BUILT),)


# What is expected


def rule(*kinds: Kind, **changes: object) -> Rule:
    return Rule.model_validate({"kinds": kinds, "reason": REASON} | changes)


@pytest.mark.parametrize(
    ("one", "covered"),
    [
        (rule(Kind.UPGRADED), True),
        (rule(Kind.BYTES, Kind.UPGRADED), True),
        (rule(Kind.DOWNGRADED), False),
        (rule(Kind.UPGRADED, names=["cu*"]), True),
        (rule(Kind.UPGRADED, names=["wget", "curl"]), True),
        (rule(Kind.UPGRADED, names=["CURL"]), False),
        (rule(Kind.UPGRADED, names=["cur"]), False),
        (rule(Kind.UPGRADED, names=[]), False),
        (rule(Kind.UPGRADED, images=["jammy"]), True),
        (rule(Kind.UPGRADED, images=["bookworm"]), False),
    ],
)
def test_a_rule_covers_its_kinds_names_and_images_only(one: Rule, *, covered: bool) -> None:
    assert one.covers(UPGRADED) is covered


def test_a_difference_counts_for_the_first_rule_that_covers_it() -> None:
    narrow, wide = rule(Kind.UPGRADED, names=["curl"]), rule(Kind.UPGRADED)
    other = replace(UPGRADED, name="git")
    removed = replace(UPGRADED, kind=Kind.REMOVED)
    verdict = judge([UPGRADED, other, removed, other], [narrow, wide, rule(Kind.BYTES)])
    assert verdict == Verdict(unexpected=(removed,), expected=((narrow, 1), (wide, 2)))


@pytest.mark.parametrize(
    "one",
    [
        UPGRADED,
        Difference(image="jammy", kind=Kind.KERNEL, before="5.15.0-100", after="5.15.0-101"),
        Difference(image="jammy", kind=Kind.BYTES, before="a", after="b"),
        Difference(image="jammy", kind=Kind.ADDED, name="linux-image-5.15.0-101-generic", after="1"),
        Difference(image="bookworm", kind=Kind.BASE, before="a", after="b"),
    ],
)
def test_what_time_does_to_an_image_is_in_the_real_list(one: Difference) -> None:
    assert judge([one], REAL).unexpected == ()


@pytest.mark.parametrize(
    "one",
    [
        Difference(image="jammy", kind=Kind.BASE, before="a", after="b"),
        Difference(image="jammy", kind=Kind.ADDED, name="linux-image-virtual", after="1"),
        Difference(image="jammy", kind=Kind.REMOVED, name="curl", before="1"),
        Difference(image="jammy", kind=Kind.DOWNGRADED, name="curl", before="2", after="1"),
        *(Difference(image="jammy", kind=kind) for kind in (Kind.NOT_BUILT, Kind.COMMIT, Kind.DEFINITION, Kind.DISK)),
    ],
)
def test_what_a_person_should_see_is_not(one: Difference) -> None:
    assert judge([one], REAL).unexpected == (one,)


@pytest.mark.parametrize(
    "text",
    ["", "[[expected]]\n", "expected = 1\n", "[[expected]\n", '[[expected]]\nkinds = ["bytes"]\n',
     f'[[expected]]\nkinds = ["byte"]\nreason = "{REASON}"\n', f'[[expected]]\nkinds = []\nreason = "{REASON}"\n',
     f'[[expected]]\nkinds = ["bytes"]\nname = "x"\nreason = "{REASON}"\n'],
)  # fmt: skip
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "drift.toml").write_text(text)
    with pytest.raises(InputError, match=r"drift\.toml"):
        read_rules(tmp_path / "drift.toml")


# What is told


def report(*unexpected: Difference, expected: tuple[tuple[Rule, int], ...] = ()) -> Report:
    verdict = Verdict(unexpected=unexpected, expected=expected)
    return Report(tag=TAG, url=f"https://github.com/o/r/releases/tag/{TAG}", verdict=verdict, run=None)


def test_the_report_has_what_is_unexpected_and_why_the_rest_is_not() -> None:
    text = report(UPGRADED, expected=((rule(Kind.BYTES), 3),)).text()
    assert "| `jammy` | `package-upgraded` | `curl` | `1` | `2` |" in text
    assert f"| 3 | `{REASON}` |" in text
    assert "build/drift.toml" in text
    assert "Nothing unexpected differs." in report().text()


def test_the_marker_is_the_same_for_the_same_differences_in_whatever_order() -> None:
    other = replace(UPGRADED, name="git")
    assert report(UPGRADED, other).marker == report(other, UPGRADED, expected=((rule(Kind.BYTES), 1),)).marker
    for changed in (replace(other, after="3"), replace(other, image="x"), replace(other, kind=Kind.DOWNGRADED)):
        assert report(UPGRADED, changed).marker != report(UPGRADED, other).marker


def test_a_long_report_is_cut_and_says_by_how_much() -> None:
    many = [replace(UPGRADED, name=f"package-{number}", before="1" * 190, after="2" * 190) for number in range(5000)]
    text = report(*many).text()
    assert len(text.encode()) <= 50_000
    assert "`package-0`" in text
    shown = text.count("`package-upgraded`")
    assert f"{5000 - shown} more are not shown here." in text


def test_a_list_of_reasons_without_end_is_cut_too() -> None:
    rules = tuple((rule(Kind.BYTES, reason="why " * 60), 1) for _ in range(5000))
    assert len(report(UPGRADED, expected=rules).text().encode()) <= 50_000


@pytest.mark.parametrize("field", ["image", "name", "before", "after"])
def test_foreign_text_is_code_and_nothing_else(field: str) -> None:
    text = report(replace(UPGRADED, **{field: HOSTILE})).text()  # type: ignore[arg-type]
    outside = "".join(text.split("`")[::2])
    for harm in ("@everyone", "<img", "# Fine", "javascript"):
        assert harm not in outside
