import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ci.host.errors import InputError
from ci.records.packages import HEADER, Package, growth, parse_packages, to_tsv

GIT = "git\t1:2.39.5-0+deb12u2\tamd64\t42"

packages = st.builds(
    Package,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,20}", fullmatch=True),
    version=st.from_regex(r"([0-9]:)?[0-9][A-Za-z0-9.+~]{0,10}(-[A-Za-z0-9.+~]{1,5})?", fullmatch=True),
    architecture=st.sampled_from(["all", "amd64", "i386", "kfreebsd-amd64"]),
    installed_kib=st.integers(min_value=0, max_value=999_999_999_999),
)


def table(*rows: str) -> str:
    return "".join(f"{row}\n" for row in (HEADER, *rows))


def test_the_table_has_a_header_and_a_row_each() -> None:
    package = Package(name="git", version="1:2", architecture="amd64", installed_kib=7)
    assert to_tsv((package,)) == "package\tversion\tarchitecture\tinstalled_kib\ngit\t1:2\tamd64\t7\n"
    assert to_tsv(()) == "package\tversion\tarchitecture\tinstalled_kib\n"


@given(st.lists(packages, unique_by=lambda package: (package.name, package.architecture)))
def test_what_is_written_is_read_again(written: list[Package]) -> None:
    assert list(parse_packages(to_tsv(written).encode(), "list")) == written


def test_one_package_may_be_there_for_two_architectures() -> None:
    found = parse_packages(table("libc6\t2.36\tamd64\t1", "libc6\t2.36\ti386\t1").encode(), "list")
    assert [package.architecture for package in found] == ["amd64", "i386"]


def test_a_malformed_list_is_refused_by_line(subtests: pytest.Subtests) -> None:
    for text, line in [
        ("", 1),
        ("git\t1\tamd64\t4\n", 1),
        (f"\ufeff{table(GIT)}", 1),
        (table(GIT).replace("\n", "\r\n"), 1),
        (HEADER, 1),
        (table(GIT)[:-1], 2),
        (table(GIT, "curl\t1\tamd64"), 3),
        (table(GIT, "curl\t1\tamd64\t4\textra"), 3),
        (table(GIT, ""), 3),
        (table(GIT, GIT), 3),
        (table(GIT, GIT.replace("2.39", "2.40")), 3),
        (table("\t1\tamd64\t4"), 2),
        (table("<script>\t1\tamd64\t4"), 2),
        (table("-rf\t1\tamd64\t4"), 2),
        (table("ｇｉｔ\t1\tamd64\t4"), 2),  # noqa: RUF001 - letters that only look like those of a name
        (table("git\t\tamd64\t4"), 2),
        (table("git\tnot one\tamd64\t4"), 2),
        (table("git\t1\tAMD64\t4"), 2),
        (table("git\t1\tamd64\t-4"), 2),
        (table("git\t1\tamd64\t4.0"), 2),
        (table("git\t1\tamd64\t"), 2),
        (table("git\t1\tamd64\t\u0664"), 2),
    ]:
        told = rf"^old\.tsv is not a list of packages: line {line}:"
        with subtests.test(text=text), pytest.raises(InputError, match=told):
            parse_packages(text.encode(), "old.tsv")


@given(st.text(alphabet="git01:.-+~\t\n\r\x0b\u2028 ", max_size=40))
@example("git\t1\x0bamd64\t4\n")
@example("git\t1\tamd64\t04\n")
def test_only_what_could_have_been_written_is_read(body: str) -> None:
    text = f"{HEADER}\n{body}"
    try:
        found = parse_packages(text.encode(), "list")
    except InputError:
        return
    assert to_tsv(found) == text


def sized(name: str, kib: int, architecture: str = "amd64") -> Package:
    return Package(name=name, version="1", architecture=architecture, installed_kib=kib)


def test_growth_starts_with_the_largest_and_leaves_out_what_stayed() -> None:
    old = [sized("git", 100), sized("vim", 300), sized("bash", 50), sized("less", 10)]
    new = [sized("git", 150), sized("vim", 200), sized("bash", 50), sized("jq", 80)]
    found = [(one.package, one.old_kib, one.new_kib) for one in growth(old, new)]
    assert found == [("jq", 0, 80), ("git", 100, 150), ("less", 10, 0), ("vim", 300, 200)]


def test_a_kernel_or_a_library_that_replaces_another_has_grown_by_the_difference() -> None:
    old = [sized("linux-image-6.1.0-9-amd64", 400_000), sized("libssl1.1", 4000), sized("libc6", 1), sized("bash", 9)]
    new = [sized("linux-image-6.1.0-10-amd64", 400_100), sized("libssl3", 6000), sized("libc6", 1, "i386"), old[3]]
    found = [(one.package, one.kib) for one in growth(old, new)]
    assert found == [("libssl3", 2000), ("linux-image-6.1.0-10-amd64", 100)]


@given(st.lists(packages), st.lists(packages))
def test_growth_adds_up_to_the_difference_of_all(old: list[Package], new: list[Package]) -> None:
    whole = sum(package.installed_kib for package in new) - sum(package.installed_kib for package in old)
    assert sum(one.kib for one in growth(old, new)) == whole


def test_bytes_that_are_no_text_are_no_list() -> None:
    with pytest.raises(InputError, match="x is not a list of packages: line 1: it is not text"):
        parse_packages(b"\xff", "x")
