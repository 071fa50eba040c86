import dataclasses
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ci.host.errors import BuildError
from ci.image.contents.inventory import InstalledPackage, parse_status
from ci.records.packages import Package, parse_packages, to_tsv
from tests.support.disks import stanza


def package(name: str, version: str = "1", architecture: str = "amd64", size: int = 10) -> Package:
    return Package(name=name, version=version, architecture=architecture, installed_kib=size)


def parse(*stanzas: str, names: Iterable[str] | None = None) -> tuple[InstalledPackage, ...]:
    """What is installed; without `names` each package of the stanzas has its list of files."""
    text = "\n".join(stanzas)
    lists = [f"{name}.list" for name in re.findall(r"^Package: (.+)$", text, re.MULTILINE)]
    return parse_status(text.encode(), lists if names is None else names)


def rows(*stanzas: str) -> list[tuple[str, str, str, int]]:
    return [dataclasses.astuple(item.package) for item in parse(*stanzas)]


CURL = stanza(package("curl"))


class TestWhatIsInstalled:
    def test_packages_come_sorted_by_name(self) -> None:
        found = rows(*(stanza(package(name)) for name in ("zstd", "curl", "libc6")))
        assert [name for name, *_ in found] == ["curl", "libc6", "zstd"]

    def test_what_is_not_fully_installed_is_left_out_but_known(self, subtests: pytest.Subtests) -> None:
        for state in [
            "config-files",
            "not-installed",
            "half-installed",
            "unpacked",
            "half-configured",
            "triggers-awaited",
        ]:
            with subtests.test(state=state):
                found = parse(stanza(package("gone"), status=f"deinstall ok {state}"), CURL)
                assert [item.package.name for item in found] == ["curl"]

    def test_a_package_on_hold_is_installed(self) -> None:
        assert rows(stanza(package("held"), status="hold ok installed")) == [("held", "1", "amd64", 10)]

    def test_a_package_without_a_size_has_none(self) -> None:
        assert rows(CURL.replace("Installed-Size: 10\n", "")) == [("curl", "1", "amd64", 0)]

    def test_two_architectures_of_one_package_both_count(self) -> None:
        found = rows(stanza(package("libc6", architecture="i386")), stanza(package("libc6")))
        assert [architecture for _, _, architecture, _ in found] == ["amd64", "i386"]

    @pytest.mark.parametrize("version", ["1:2.39.5-0+deb12u2", "1.0~rc1-1", "1.0-1+b1", "2:9-1ubuntu1~22.04"])
    def test_a_version_is_kept_as_it_is(self, version: str) -> None:
        assert rows(stanza(package("git", version))) == [("git", version, "amd64", 10)]

    def test_what_was_found_can_be_written_and_read_again(self) -> None:
        found = tuple(item.package for item in parse(CURL, stanza(package("git", "1:2~3+b4", "i386", 0))))
        assert parse_packages(to_tsv(found).encode(), "list") == found


class TestWhereItComesFrom:
    @pytest.mark.parametrize(
        ("field", "source"),
        [
            (None, ("curl", "7.1-2+b1")),
            ("Source: curl-source", ("curl-source", "7.1-2+b1")),
            ("Source: curl (7.1-2)", ("curl", "7.1-2")),
            ("Source: curl (1:7.1~rc1-2)", ("curl", "1:7.1~rc1-2")),
        ],
    )
    def test_a_source_is_the_package_itself_unless_it_says_otherwise(
        self, field: str | None, source: tuple[str, str]
    ) -> None:
        (item,) = parse(stanza(package("curl", "7.1-2+b1"), *filter(None, [field])))
        assert (item.source, item.source_version) == source

    def test_the_maintainer_is_kept(self) -> None:
        (item,) = parse(CURL)
        assert item.maintainer == "Some Body <some.body@example.org>"


class TestHostile:
    def test_what_dpkg_would_not_have_written_is_refused(self, subtests: pytest.Subtests) -> None:
        for text, problem in [
            ("", "nothing is installed"),
            ("\0" * 1000, "nothing is installed"),
            ("/etc/hostname", "nothing is installed"),
            (f"{CURL}\n{CURL}", "curl for amd64 is there twice"),
            (CURL.replace("Package: curl\n", ""), "'' is not the name of a package"),
            (CURL.replace("curl", "../../etc/passwd"), "is not the name of a package"),
            (CURL.replace("curl", "cu\0rl"), "is not the name of a package"),
            (CURL.replace("Version: 1\n", ""), "'' is not a version"),
            (CURL.replace("Version: 1", "Version: 1\n 2"), "is not a version"),
            (CURL.replace("Version: 1", "Version: " + "9!" * 100_000), "is not a version"),
            (CURL.replace("amd64", "amd64\x0bPackage: evil"), "is not the name of a architecture"),
            (CURL.replace("Size: 10", "Size: -1"), "is not a size in KiB"),
            (stanza(package("curl"), "Source: (1)"), "curl does not say what its source is"),
            (stanza(package("curl"), "Source: x (:1)"), "curl does not say what its source is"),
        ]:
            with subtests.test(text=text):
                with pytest.raises(BuildError, match="packages in the finished image cannot be told: ") as caught:
                    parse(text)
                assert problem in caught.value.message
                assert len(caught.value.message) < 300

    def test_bytes_that_are_no_text_are_replaced(self) -> None:
        content = CURL.encode().replace(b"Some Body", b"S\xf8me \xff")
        (item,) = parse_status(content, ["curl.list"])
        assert item.maintainer == "S\N{REPLACEMENT CHARACTER}me \N{REPLACEMENT CHARACTER} <some.body@example.org>"

    @given(st.binary(max_size=200))
    @example(b"-----BEGIN PGP SIGNED MESSAGE-----\n")
    @example(b"Package: a\nStatus: installed\nVersion: 1\nArchitecture: all\n-----BEGIN PGP SIGNATURE-----\n")
    def test_nothing_but_its_own_error_comes_of_anything(self, content: bytes) -> None:
        try:
            parse_status(content, [])
        except BuildError:
            return


class TestFileLists:
    def test_every_installed_package_has_one_with_or_without_its_architecture(self) -> None:
        gone = stanza(package("gone"), status="deinstall ok config-files")
        names = ["curl.list", "curl.md5sums", "libc6:amd64.list", "gone.list", "format"]
        assert len(parse(CURL, stanza(package("libc6")), gone, names=names)) == 2

    def test_a_package_without_one_is_noticed(self) -> None:
        with pytest.raises(BuildError, match="curl is installed, but no list of its files is there"):
            parse(CURL, names=["curl:i386.list", "curl.md5sums"])

    def test_one_without_a_package_is_noticed(self) -> None:
        with pytest.raises(BuildError, match="a list of the files of wget, which dpkg does not know"):
            parse(CURL, names=["curl.list", "wget.list"])
