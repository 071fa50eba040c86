import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ci.image.contents.licenses import conjunction, read_copyright, to_expression

FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"


def copyright_file(*licenses: str, header: str = FORMAT) -> bytes:
    files = [f"Files: {number}/*\nCopyright: 2020 Some Body\nLicense: {name}" for number, name in enumerate(licenses)]
    return "\n\n".join([header, *files, "License: GPL-9\n Never used by a file."]).encode() + b"\n"


def names(content: bytes) -> list[str]:
    return [item.name for item in read_copyright(content)]


class TestReading:
    def test_licenses_are_those_of_files_once_and_sorted(self) -> None:
        content = copyright_file("ISC", "Expat\n Permission is hereby granted\n .\n and so on", "ISC")
        assert [(item.name, item.expression) for item in read_copyright(content)] == [("Expat", "MIT"), ("ISC", "ISC")]

    def test_their_order_is_not_that_of_the_file(self) -> None:
        texts = [f"license-{letter}" for letter in "qwertyuiop"]
        assert names(copyright_file(*texts)) == sorted(texts)

    def test_the_header_counts_where_no_file_says_anything(self) -> None:
        assert names(f"{FORMAT}\nLicense: GPL-2+\n".encode()) == ["GPL-2+"]
        assert names(copyright_file("ISC", header=f"{FORMAT}\nLicense: GPL-2+")) == ["ISC"]

    @pytest.mark.parametrize(
        "header",
        [
            "Format: http://www.debian.org/doc/packaging-manuals/copyright-format/1.0",
            "Format: http://dep.debian.net/deps/dep5/",
            "Format-Specification: http://svn.debian.org/wsvn/dep/web/deps/dep5.mdwn?op=file&rev=135",
        ],
    )
    def test_older_names_of_the_format_are_known(self, header: str) -> None:
        assert names(copyright_file("ISC", header=header)) == ["ISC"]

    def test_any_other_text_says_nothing(self, subtests: pytest.Subtests) -> None:
        for content in [
            b"",
            b"\0\0\0",
            b"/etc/hostname",
            b"This package was debianized by hand.\n\nLicense: GPL-2+\n",
            b"Format: of my own\n\nFiles: *\nLicense: ISC\n",
            copyright_file("ISC")[: len(FORMAT)],
        ]:
            with subtests.test(content=content):
                assert read_copyright(content) == ()

    def test_bad_bytes_and_characters_that_end_lines_elsewhere_stay_in_the_name(self) -> None:
        assert names(copyright_file("ISC").replace(b"ISC", b"I\xffS\x0bC")) == ["I\N{REPLACEMENT CHARACTER}S C"]

    @given(st.binary(max_size=100))
    @example(b"\n\nFiles: *\n-----BEGIN PGP SIGNED MESSAGE-----\nLicense: x")
    def test_nothing_breaks_it(self, content: bytes) -> None:
        read_copyright(FORMAT.encode() + content)
        read_copyright(content)


def test_short_names_become_spdx_expressions(subtests: pytest.Subtests) -> None:
    for synopsis, expression in [
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("AGPL-3", "AGPL-3.0-only"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("GFDL-1.2", "GFDL-1.2-only"),
        ("Expat", "MIT"),
        ("expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Apache-2", "Apache-2.0"),
        ("ZLIB", "Zlib"),
        ("CC0", "CC0-1.0"),
        ("GPL-2+ or Expat", "GPL-2.0-or-later OR MIT"),
        ("GPL-2+ and Expat or ISC", "(GPL-2.0-or-later AND MIT) OR ISC"),
        ("GPL-2+ or AFL-2.1, and Expat", "(GPL-2.0-or-later OR AFL-2.1) AND MIT"),
        ("GPL-2+ and Expat, or ISC", "(GPL-2.0-or-later AND MIT) OR ISC"),
        ("GPL-2+ with libtool exception", "GPL-2.0-or-later WITH Libtool-exception"),
        ("GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note"),
    ]:
        with subtests.test(synopsis=synopsis):
            assert to_expression(synopsis) == expression


def test_what_is_not_sure_becomes_none(subtests: pytest.Subtests) -> None:
    for synopsis in [
        "MIT",
        "X11",
        "Artistic",
        "public-domain",
        "GPL",
        "BSD",
        "GPL-9",
        "GPL-2+ with OpenSSL exception",
        "GPL-2+ or Artistic",
        "Expat or",
        "or Expat",
        "ISC, or Zlib, and Expat",
        "Libtool-exception",
        "Intel",
        "",
        "Expat AND (ISC",
        "\N{ARABIC-INDIC DIGIT TWO}",
        "GPL-\N{ARABIC-INDIC DIGIT TWO}+",
    ]:
        with subtests.test(synopsis=synopsis):
            assert to_expression(synopsis) is None


def test_a_conjunction_has_each_part_once_and_keeps_its_choices_together() -> None:
    expressions = ["MIT OR GPL-2.0-only", "ISC AND MIT", "MIT"]
    assert conjunction(expressions) == "ISC AND MIT AND (MIT OR GPL-2.0-only)"
    assert conjunction(["MIT OR ISC"]) == "MIT OR ISC"
