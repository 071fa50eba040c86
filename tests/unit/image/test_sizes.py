from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host.errors import InputError
from ci.image.sizes import HEADER, FolderSize, own_sizes, parse_du, parse_sizes, to_tsv

DU = "4\t/boot/grub\n30\t/boot\n200\t/usr/lib/git-core\n500\t/usr/lib\n600\t/usr\n640\t/\n"

folders = st.dictionaries(
    st.from_regex(r"/(?:[a-c]{1,2}(?:/[a-c ]{1,2}){0,2})?", fullmatch=True), st.integers(min_value=0, max_value=10**9)
)


def sizes(*pairs: tuple[str, int]) -> list[FolderSize]:
    return [FolderSize(path=PurePosixPath(path), kib=kib) for path, kib in pairs]


def test_what_du_says_becomes_a_table() -> None:
    text = to_tsv(parse_du(DU))
    assert text.splitlines()[:4] == [HEADER, "/\t640", "/boot\t30", "/boot/grub\t4"]
    assert parse_sizes(text.encode(), "x") == parse_du(DU)


def test_a_line_that_is_no_folder_with_a_printable_name_is_left_out(subtests: pytest.Subtests) -> None:
    for line in ["4\t/a\x1b[31m", "x\t/a", "4\ta", "4", "du: cannot read directory '/proc/1'", "4\t/a\tb"]:
        with subtests.test(line=line):
            assert parse_du(f"{line}\n{DU}") == parse_du(DU)


@given(folders)
def test_what_is_written_is_read_again(found: dict[str, int]) -> None:
    written = tuple(sizes(*found.items()))
    assert parse_sizes(to_tsv(written).encode(), "x") == written


def test_folders_without_those_below_them_add_up_to_the_whole() -> None:
    own = own_sizes(parse_du(DU))
    assert [(str(one.path), one.kib) for one in own] == [
        ("/usr/lib", 300), ("/usr/lib/git-core", 200), ("/usr", 100), ("/boot", 26), ("/", 10), ("/boot/grub", 4),
    ]  # fmt: skip
    assert sum(one.kib for one in own) == 640


def test_a_folder_is_never_less_than_nothing() -> None:
    assert [one.kib for one in own_sizes(sizes(("/", 5), ("/usr", 9)))] == [9, 0]


def test_a_damaged_or_foreign_table_is_refused(subtests: pytest.Subtests) -> None:
    for content, problem in [
        (b"", "first line"),
        (b"\xff", "not text"),
        (b"folder\tkib", "cut off"),
        (b"folder\tkib\n/usr\t1", "cut off"),
        (b"folder\tkib\nusr\t1\n", "line 2"),
        (b"folder\tkib\n/usr\t-1\n", "line 2"),
        (b"folder\tkib\n/usr\t1.5\n", "line 2"),
        (b"folder\tkib\n/usr\n", "line 2"),
        (b"folder\tkib\n/usr\t9999999999999\n", "line 2"),
        ("folder\tkib\n/usr\t\u0663\n".encode(), "line 2"),
        (b"folder\tkib\n/\x1b\t1\n", "line 2"),
        (b"folder\tkib\n/usr\t1\n/usr\t1\n", "listed before"),
    ]:
        with subtests.test(content=content):
            with pytest.raises(InputError, match="x is not a list of folder sizes") as caught:
                parse_sizes(content, "x")
            assert problem in caught.value.message
