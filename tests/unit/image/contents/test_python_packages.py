import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.image.contents.licenses import License
from ci.image.contents.python_packages import metadata_paths, parse_metadata, sites

METADATA = b"Metadata-Version: 2.1\nName: PyYAML\nVersion: 6.0\nLicense: MIT\n\nName: of the description\n"


def license_of(*lines: str) -> License | None:
    distribution = parse_metadata("\n".join(["Name: x", "Version: 1", *lines]).encode(), "/x")
    assert distribution is not None
    return distribution.license


def test_only_what_says_that_it_was_installed_is_looked_into() -> None:
    found = metadata_paths({"/site": ["yaml", "PyYAML-6.0.dist-info", "six-1.egg-info", "six.py", "dist-info"]})
    assert found == ["/site/PyYAML-6.0.dist-info/METADATA", "/site/six-1.egg-info/PKG-INFO", "/site/six-1.egg-info"]


def test_packages_are_in_folders_of_an_interpreter() -> None:
    found = sites({"/usr/lib": ["python3", "python3.11", "python2.7", "python3.11x", "git-core"], "/none": []})
    interpreters = ("/usr/lib/python3", "/usr/lib/python3.11")
    assert found == [f"{folder}/{site}-packages" for folder in interpreters for site in ("dist", "site")]


def test_name_and_version_are_those_of_the_headers() -> None:
    distribution = parse_metadata(METADATA, "/site/x")
    assert distribution is not None
    assert (distribution.name, distribution.version, distribution.path) == ("PyYAML", "6.0", "/site/x")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: MIT OR ISC", "License: both"], License(name="MIT OR ISC", expression="MIT OR ISC")),
        (["License-Expression: my own"], None),
        (["License: MIT"], License(name="MIT", expression=None)),
        (["License: Permission is hereby", "  granted"], None),
        ([], None),
    ],
)
def test_only_an_spdx_expression_is_taken_for_one(lines: list[str], expected: License | None) -> None:
    assert license_of(*lines) == expected


def test_what_names_nothing_is_nothing(subtests: pytest.Subtests) -> None:
    for content in [
        b"",
        b"\0" * 100,
        b"Name: x",
        b"Version: 1",
        b"Name: \nVersion: 1",
        b"Name: ../x\nVersion: 1",
        b"Name: x\nVersion: 1 2",
        b"Name: x\xff\nVersion: 1",
        b"\nName: x\nVersion: 1",
    ]:
        with subtests.test(content=content):
            assert parse_metadata(content, "/x") is None


@given(st.binary(max_size=100))
def test_nothing_breaks_it(content: bytes) -> None:
    parse_metadata(b"Name: x\nVersion: 1\nLicense: " + content, "/x")
    parse_metadata(content, "/x")
