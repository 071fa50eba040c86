from collections.abc import Sequence

import pytest

from ci.host.errors import BuildError
from ci.image.contents.image_contents import OsRelease, find_licenses, find_owners, read_os_release
from ci.image.contents.inventory import InstalledPackage
from ci.image.contents.python_packages import Distribution
from ci.records.packages import Package

GCC, ISC = (
    f"Format: http://dep.debian.net/deps/dep5/\n\nFiles: *\nLicense: {name}\n".encode() for name in ("GPL-3+", "ISC")
)


def distribution(path: str) -> Distribution:
    return Distribution(name="x", version="1", path=path, license=None)


def test_the_distribution_is_named_by_os_release() -> None:
    content = '# a comment\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\nVERSION_ID="22.04"\n'
    assert read_os_release(content) == OsRelease(id="ubuntu", version_id="22.04", pretty_name="Ubuntu 22.04.5 LTS")
    assert read_os_release("ID=debian\nVERSION_ID=12\n").pretty_name == "debian 12"


@pytest.mark.parametrize(
    "content",
    ["", "\0", "ID=debian\n", "VERSION_ID=12\n", "ID=../x\nVERSION_ID=12\n", "ID=debian\nVERSION_ID=1 2\n",
     "ID=Debian\nVERSION_ID=12\n", "ID=" + "d" * 10_000 + "\nVERSION_ID=12\n", "ID=\ufffd\nVERSION_ID=12\n"],
)  # fmt: skip
def test_what_names_no_distribution_is_refused(content: str) -> None:
    with pytest.raises(BuildError, match="does not name a distribution") as caught:
        read_os_release(content)
    assert len(caught.value.message) < 300


def installed(**sources: str) -> list[InstalledPackage]:
    return [
        InstalledPackage(
            package=Package(name=name, version="12", architecture="amd64", installed_kib=1),
            source=source.partition("@")[0],
            source_version=source.partition("@")[2] or "12",
            maintainer="",
        )
        for name, source in sources.items()
    ]


def licenses(found: Sequence[InstalledPackage], **copyrights: bytes) -> dict[str, list[str]]:
    return {name: [item.name for item in terms] for name, terms in find_licenses(found, copyrights).items()}


def test_a_package_without_a_copyright_file_has_that_of_its_source() -> None:
    found = licenses(installed(base="gcc", libgcc="gcc", curl="curl"), base=GCC)
    assert found == {"base": ["GPL-3+"], "libgcc": ["GPL-3+"]}


def test_where_those_of_its_source_differ_it_has_none() -> None:
    found = licenses(installed(base="gcc", doc="gcc", libgcc="gcc"), base=GCC, doc=ISC)
    assert found == {"base": ["GPL-3+"], "doc": ["ISC"]}


def test_another_version_of_its_source_says_nothing() -> None:
    assert licenses(installed(base="gcc", libgcc="gcc@11"), base=GCC) == {"base": ["GPL-3+"]}


def test_owners_are_found_by_whole_lines() -> None:
    lists = [("a", b"/.\n/site/x/METADATA\n"), ("b", b"/site/y/METADATA.old\n/site/y\n"), ("c", b"\xff\n")]
    found = find_owners([distribution("/site/x/METADATA"), distribution("/site/y/METADATA")], lists)
    assert found == {"/site/x/METADATA": "a"}
