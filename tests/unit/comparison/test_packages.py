from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ci.comparison.packages import compare, markdown, summary
from ci.records.packages import Package, PackageDiff


def package(name: str, version: str = "1", architecture: str = "amd64", kib: int = 1024) -> Package:
    return Package(name=name, version=version, architecture=architecture, installed_kib=kib)


def names(packages: Sequence[Package]) -> list[str]:
    return [item.name for item in packages]


def upgraded(diff: PackageDiff) -> list[tuple[str, str, str]]:
    return [(item.new.name, item.old.version, item.new.version) for item in diff.upgraded]


def downgraded(diff: PackageDiff) -> list[tuple[str, str, str]]:
    return [(item.new.name, item.old.version, item.new.version) for item in diff.downgraded]


lists = st.lists(
    st.builds(
        package,
        st.sampled_from(["bash", "curl", "git", "zstd"]),
        st.sampled_from(["1", "1.0~rc1", "1.0-1", "1:0.1", "0:1"]),
        st.sampled_from(["amd64", "all", "i386"]),
        st.integers(min_value=0, max_value=5000),
    ),
    unique_by=lambda item: (item.name, item.architecture),
)


def test_added_and_removed_packages_are_sorted_by_name() -> None:
    diff = compare([package("zsh"), package("ash"), package("git")], [package("git"), package("zstd"), package("curl")])
    assert names(diff.added) == ["curl", "zstd"]
    assert names(diff.removed) == ["ash", "zsh"]
    assert not diff.upgraded
    assert not diff.downgraded


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("1.9-1", "1.10-1"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0-1", "1.0-1+b1"),
        ("2.0-1", "1:0.1-1"),
        ("1.0-1ubuntu1", "1.0-1ubuntu1.1"),
    ],
)
def test_up_and_down_are_as_debian_orders_versions(lower: str, higher: str) -> None:
    up = compare([package("git", lower)], [package("git", higher)])
    assert upgraded(up) == [("git", lower, higher)]
    assert not up.downgraded
    down = compare([package("git", higher)], [package("git", lower)])
    assert downgraded(down) == [("git", higher, lower)]
    assert not down.upgraded


def test_two_spellings_of_one_version_are_no_change() -> None:
    assert compare([package("git", "0:1-0")], [package("git", "1")]).empty


def test_each_architecture_is_a_package_of_its_own() -> None:
    diff = compare([package("libc6")], [package("libc6", "2"), package("libc6", architecture="i386")])
    assert upgraded(diff) == [("libc6", "1", "2")]
    assert [item.architecture for item in diff.added] == ["i386"]


def test_a_new_version_for_another_architecture_is_an_upgrade() -> None:
    diff = compare([package("tzdata", "1", "all")], [package("tzdata", "2", "amd64")])
    assert upgraded(diff) == [("tzdata", "1", "2")]
    assert not diff.added
    assert not diff.removed


def test_the_same_version_for_another_architecture_is_a_replacement() -> None:
    diff = compare([package("tzdata", "1", "all")], [package("tzdata", "1", "amd64")])
    assert [item.architecture for item in (*diff.removed, *diff.added)] == ["all", "amd64"]


@given(lists, lists)
def test_the_way_back_is_the_mirror_image(old: list[Package], new: list[Package]) -> None:
    there, back = compare(old, new), compare(new, old)
    assert there.added == back.removed
    assert there.removed == back.added
    # In the order of the newer image's architectures, which is another one on the way back.
    assert {(item.old, item.new) for item in there.upgraded} == {(item.new, item.old) for item in back.downgraded}
    assert (there.old_kib, there.new_kib) == (back.new_kib, back.old_kib)


@given(lists, lists)
def test_every_package_is_accounted_for_once(old: list[Package], new: list[Package]) -> None:
    diff = compare(old, new)
    changes = [*diff.upgraded, *diff.downgraded]
    unchanged = len(old) - len(diff.removed) - len(changes)
    assert unchanged == len(new) - len(diff.added) - len(changes)
    assert {item.old for item in changes} | set(diff.removed) <= set(old)
    assert {item.new for item in changes} | set(diff.added) <= set(new)


@given(lists)
def test_a_list_does_not_differ_from_itself(packages: list[Package]) -> None:
    assert compare(packages, reversed(packages)).empty


@given(lists, lists)
def test_a_difference_survives_its_json(old: list[Package], new: list[Package]) -> None:
    diff = compare(old, new)
    assert PackageDiff.model_validate_json(diff.model_dump_json()) == diff


def test_the_summary_counts_what_there_is() -> None:
    old = [package("bash"), package("curl", "2"), package("git"), package("zsh")]
    new = [package("bash", "2"), package("curl"), package("git", "2"), package("jq", kib=3072)]
    assert summary(compare(old, new)) == (
        "1 added, 1 removed, 2 upgraded, 1 downgraded; installed size 6.0 MiB (+2.0 MiB, +50.0 %)"
    )
    assert summary(compare(new, new)) == "the same packages; installed size 6.0 MiB (unchanged)"
    assert summary(compare([package("jq", kib=1536)], [])) == "1 removed; installed size 0.0 MiB (-1.5 MiB, -100.0 %)"


def test_the_tables_name_versions_and_foreign_architectures() -> None:
    text = markdown(
        compare(
            [package("git", "1:2.0-1"), package("wine", architecture="i386"), package("vim", "9")],
            [package("git", "1:2.1-1"), package("jq", kib=1536), package("vim", "8")],
        ),
        rows=100,
    )
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `jq` | `1` | 1.5 MiB |",
        "| `wine:i386` | `1` | 1.0 MiB |",
        "| `vim` | `9` | `8` |",
        "| `git` | `1:2.0-1` | `1:2.1-1` |",
    ]
    assert [line for line in text.splitlines() if line.endswith(":")] == [
        "Added:",
        "Removed:",
        "Downgraded:",
        "Upgraded:",
    ]


@pytest.mark.parametrize(
    ("rows", "shown", "missing"), [(6, 6, None), (5, 5, "1 more row is"), (0, 0, "6 more rows are")]
)
def test_rows_beyond_the_limit_are_counted(rows: int, shown: int, missing: str | None) -> None:
    old = [package("git"), package("curl"), package("zsh"), package("ash")]
    new = [package("git", "2"), package("curl", "2"), package("jq"), package("zstd")]
    text = markdown(compare(old, new), rows=rows)
    assert sum(line.startswith("| `") for line in text.splitlines()) == shown
    if missing is None:
        assert "not shown" not in text
    else:
        assert f"{missing} not shown here." in text


def test_the_same_packages_need_no_tables() -> None:
    assert markdown(compare([package("git")], [package("git")]), rows=10) == ""


@pytest.mark.parametrize(
    "text", ["a | b", "`x` <b>", "@someone", "\n# Heading", "[x](https://evil.example)", "\x1b[31m"]
)
def test_hostile_packages_stay_in_their_cells(text: str) -> None:
    hostile = Package(name=text, version=f"1{text}", architecture=text, installed_kib=1)
    diff = PackageDiff(added=(hostile,), removed=(), upgraded=(), downgraded=(), old_kib=0, new_kib=0)
    rendered = MarkdownIt("commonmark").enable("table").render(markdown(diff, rows=10))
    assert rendered.count("<td>") == 3
    assert "<h1>" not in rendered
    assert "<a" not in rendered
    assert "<b>" not in rendered
