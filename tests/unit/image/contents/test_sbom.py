import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from ci.host.errors import BuildError
from ci.host.repository import ROOT
from ci.image.contents import sbom
from ci.image.contents.image_contents import ImageContents, OsRelease
from ci.image.contents.inventory import InstalledPackage
from ci.image.contents.licenses import License, to_expression
from ci.image.contents.python_packages import Distribution
from ci.image.plan import ImageIdentity
from ci.records.packages import Package
from tests.support import trivy_decoder

SHA256, BASE_URL = "a" * 64, "https://images.example/base.img"
IDENTITY = ImageIdentity(
    name="fountainkit-toolsmith-debian-12-v2026.11.23",
    version="v2026.11.23",
    commit="c0ffee" + "0" * 34,
    built_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
    base_sha256="b" * 64,
)
DEBIAN = OsRelease(id="debian", version_id="12", pretty_name="Debian GNU/Linux 12 (bookworm)")
METADATA = "/usr/local/lib/python3.11/dist-packages/rich-14.0.dist-info/METADATA"


def installed(
    name: str,
    version: str = "1.0-1",
    architecture: str = "amd64",
    *,
    source: str = "",
    source_version: str = "",
    maintainer: str = "",
) -> InstalledPackage:
    package = Package(name=name, version=version, architecture=architecture, installed_kib=42)
    return InstalledPackage(
        package=package,
        source=source or name,
        source_version=source_version or version,
        maintainer=maintainer,
    )


def contents(
    *packages: InstalledPackage,
    os: OsRelease = DEBIAN,
    licenses: Mapping[str, Sequence[str]] | None = None,
    distributions: Sequence[Distribution] = (),
    owners: Mapping[str, str] | None = None,
) -> ImageContents:
    return ImageContents(
        os=os,
        installed=packages,
        licenses={
            name: tuple(License(name=text, expression=to_expression(text)) for text in texts)
            for name, texts in (licenses or {}).items()
        },
        distributions=tuple(distributions),
        owners=owners or {},
    )


def render(inside: ImageContents, sha256: str = SHA256) -> str:
    return sbom.to_cyclonedx(IDENTITY, sha256=sha256, base_url=BASE_URL, contents=inside)


def document(inside: ImageContents, sha256: str = SHA256) -> dict[str, Any]:
    text = render(inside, sha256)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def component(inside: ImageContents, name: str) -> dict[str, Any]:
    (found,) = [item for item in document(inside)["components"] if item["name"] == name]
    assert isinstance(found, dict)
    return found


def properties(item: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in item["properties"]}


class TestDocument:
    def test_it_is_about_the_image_with_its_digest_and_the_time_of_its_build(self) -> None:
        found = document(contents(installed("curl")))
        assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
        assert found["metadata"]["timestamp"] == "2026-11-23T12:00:00+00:00"
        described = found["metadata"]["component"]
        assert (described["name"], described["version"]) == (IDENTITY.name, IDENTITY.version)
        assert described["hashes"] == [{"alg": "SHA-256", "content": SHA256}]
        assert properties(described)["fountainkit:commit"] == IDENTITY.commit

    def test_the_base_is_a_component_with_digest_and_address(self) -> None:
        base = component(contents(installed("curl")), "base-image")
        assert base["hashes"] == [{"alg": "SHA-256", "content": IDENTITY.base_sha256}]
        assert base["externalReferences"] == [{"type": "distribution", "url": BASE_URL}]

    def test_the_distribution_is_named_for_scanners(self) -> None:
        found = component(contents(installed("curl")), "debian")
        assert (found["type"], found["version"]) == ("operating-system", "12")

    def test_the_same_image_has_the_same_bytes_in_whatever_order_it_was_read(self) -> None:
        packages = [installed(name) for name in ("zstd", "curl", "git")]
        licenses = {"curl": ["curl", "odd"], "git": ["ISC", "Expat"]}
        first = render(contents(*packages, licenses=licenses))
        second = render(contents(*reversed(packages), licenses=dict(reversed(licenses.items()))))
        assert first == second

    def test_another_image_has_another_serial_number(self) -> None:
        inside = contents(installed("curl"))
        numbers = {document(inside, sha256)["serialNumber"] for sha256 in (SHA256, "c" * 64)}
        assert len(numbers) == 2
        assert all(number.startswith("urn:uuid:") for number in numbers)

    def test_the_image_depends_on_everything_in_it(self) -> None:
        found = document(contents(installed("curl"), installed("git")))
        (image,) = [item for item in found["dependencies"] if item["ref"] == found["metadata"]["component"]["bom-ref"]]
        assert sorted(image["dependsOn"]) == sorted(item["bom-ref"] for item in found["components"])


class TestPackages:
    @pytest.mark.parametrize(
        ("item", "os", "purl"),
        [
            (installed("curl"), DEBIAN, "pkg:deb/debian/curl@1.0-1?arch=amd64&distro=debian-12"),
            (
                installed("curl"),
                OsRelease(id="ubuntu", version_id="22.04", pretty_name="Ubuntu 22.04.5 LTS"),
                "pkg:deb/ubuntu/curl@1.0-1?arch=amd64&distro=ubuntu-22.04",
            ),
            (
                installed("libc6", "2.36-9", "i386", source="glibc"),
                DEBIAN,
                "pkg:deb/debian/libc6@2.36-9?arch=i386&distro=debian-12&upstream=glibc",
            ),
            (
                installed("curl", "1.0-1+b1", source_version="1.0-1"),
                DEBIAN,
                "pkg:deb/debian/curl@1.0-1%2Bb1?arch=amd64&distro=debian-12&upstream=curl%401.0-1",
            ),
        ],
    )
    def test_the_purl_names_distribution_architecture_and_source(
        self, item: InstalledPackage, os: OsRelease, purl: str
    ) -> None:
        found = component(contents(item, os=os), item.package.name)
        assert found["purl"] == found["bom-ref"] == purl

    @pytest.mark.parametrize("version", ["1:2.39.5-0+deb12u2", "1.0~rc1-1", "2:9-1ubuntu1~22.04.1+esm1"])
    def test_any_version_survives_in_the_purl(self, version: str) -> None:
        found = component(contents(installed("libstdc++6", version)), "libstdc++6")
        purl = PackageURL.from_string(found["purl"])
        assert (purl.name, purl.version, found["version"]) == ("libstdc++6", version, version)

    def test_source_and_size_are_properties(self) -> None:
        found = component(contents(installed("libc6", "2.36-9+b1", source="glibc", source_version="2.36-9")), "libc6")
        assert properties(found) == {
            "fountainkit:dpkg:source": "glibc",
            "fountainkit:dpkg:source-version": "2.36-9",
            "fountainkit:dpkg:installed-kib": "42",
            "aquasecurity:trivy:SrcName": "glibc",
            "aquasecurity:trivy:SrcVersion": "2.36",
            "aquasecurity:trivy:SrcRelease": "9",
        }

    def test_trivy_finds_each_source_package_with_its_version(self) -> None:
        packages = [
            installed("curl"),
            installed("libc6", "2.36-9+b1", source="glibc", source_version="2.36-9"),
            installed("libssl3", "3.0.2-0ubuntu1.20", source="openssl"),
            installed("login", "1:4.8.1-2ubuntu2.2", source="shadow"),
            installed("vim-tiny", "2:8.2.3995-1ubuntu2.24", source="vim"),
            installed("gcc-12-base", "12.3.0-1ubuntu1~22.04.3", source="gcc-12"),
            installed("libperl5.34", "5.34.0-3ubuntu1.5", source="perl"),
            installed("tzdata", "2026a"),
            installed("linux-image-virtual", "5.15.0.190.180", source="linux-meta"),
            installed("x", "1:2-3-4", source="y", source_version="5:6-7-8~rc1+b2"),
            installed("odd", "1-1", source_version="0:1-1"),
        ]
        decoded = trivy_decoder.decode(document(contents(*packages)))
        assert (decoded.family, decoded.release) == ("debian", "12")
        assert decoded.sources == {
            item.package.name: (item.source, item.source_version.removeprefix("0:")) for item in packages
        }

    def test_without_the_properties_trivy_takes_the_package_for_its_source(self) -> None:
        """So the model does what its users saw, and the test above would fail."""
        found = document(contents(installed("libc6", "2.36-9+b1", source="glibc", source_version="2.36-9")))
        for one in found["components"]:
            one["properties"] = []
        assert trivy_decoder.decode(found).sources == {"libc6": ("libc6", "2.36-9+b1")}

    def test_two_architectures_of_one_package_are_two_components(self) -> None:
        found = document(contents(installed("libc6"), installed("libc6", architecture="i386")))
        assert len([item for item in found["components"] if item["name"] == "libc6"]) == 2

    @pytest.mark.parametrize(
        ("maintainer", "name", "email"),
        [
            ("GNU Libc Maintainers <libc@lists.debian.org>", "GNU Libc Maintainers", "libc@lists.debian.org"),
            ('"Adam, C. (x)" <adam@debian.org>', "Adam, C. (x)", "adam@debian.org"),
            ("<nobody@debian.org>", "nobody@debian.org", "nobody@debian.org"),
            ("Nobody at all", "Nobody at all", None),
            ("Line\nbreaker <a b@c>", "Line\N{REPLACEMENT CHARACTER}breaker <a b@c>", None),
            ("x" * 100_000, "x" * 200, None),
        ],
    )
    def test_the_supplier_is_the_maintainer(self, maintainer: str, name: str, email: str | None) -> None:
        supplier = component(contents(installed("curl", maintainer=maintainer)), "curl")["supplier"]
        assert supplier["name"] == name
        assert supplier.get("contact", [{}])[0].get("email") == email

    def test_without_a_maintainer_there_is_no_supplier(self) -> None:
        assert "supplier" not in component(contents(installed("curl")), "curl")


class TestLicenses:
    @pytest.mark.parametrize(
        ("texts", "expected"),
        [
            ([], None),
            (["Expat"], [{"license": {"id": "MIT"}}]),
            (["Expat", "GPL-2+"], [{"expression": "GPL-2.0-or-later AND MIT"}]),
            (["GPL-2+ or Expat"], [{"expression": "GPL-2.0-or-later OR MIT"}]),
            (["Expat", "my own"], [{"license": {"id": "MIT"}}, {"license": {"name": "my own"}}]),
            (
                ["GPL-2 or Expat", "x" * 300],
                [{"license": {"name": text}} for text in ("GPL-2.0-only OR MIT", "x" * 200)],
            ),
            (["a\0\x1b[2Jb"], [{"license": {"name": "a\N{REPLACEMENT CHARACTER}[2Jb"}}]),
        ],
    )
    def test_sure_ones_are_an_expression_others_keep_their_names(
        self, texts: list[str], expected: list[Any] | None
    ) -> None:
        found = component(contents(installed("curl"), licenses={"curl": texts}), "curl").get("licenses")
        for item in found or []:
            assert item.get("license", item).pop("acknowledgement") == "declared"
        assert found == expected


class TestPython:
    RICH = Distribution(name="Rich_Text", version="14.0", path=METADATA, license=License(name="MIT", expression="MIT"))

    def test_what_pip_installed_is_a_component(self) -> None:
        found = component(contents(installed("curl"), distributions=[self.RICH]), "Rich_Text")
        assert found["purl"] == "pkg:pypi/rich-text@14.0"
        assert found["licenses"] == [{"license": {"acknowledgement": "declared", "id": "MIT"}}]
        assert properties(found) == {"fountainkit:path": METADATA}

    def test_the_same_version_in_two_places_is_two_components(self) -> None:
        twin = Distribution(name="rich-text", version="14.0", path="/usr/lib/python3/x", license=None)
        found = document(contents(installed("curl"), distributions=[self.RICH, twin]))
        assert [item.get("purl") for item in found["components"]].count("pkg:pypi/rich-text@14.0") == 2

    def test_what_came_with_a_package_is_said_of_that_package(self) -> None:
        inside = contents(installed("python3-rich"), distributions=[self.RICH], owners={METADATA: "python3-rich"})
        assert properties(component(inside, "python3-rich"))["fountainkit:python-distribution"] == "Rich_Text==14.0"
        assert not [item for item in document(inside)["components"] if item.get("purl", "").startswith("pkg:pypi")]


def test_an_image_that_would_make_a_document_nobody_accepts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci.records.sbom.MAX_LIST", 10)
    packages = [installed(f"p{number}") for number in range(10)]
    with pytest.raises(BuildError, match=r"makes no SBOM: .*more than 10 items"):
        render(contents(*packages))


def test_each_property_is_documented() -> None:
    distributions = [TestPython.RICH, Distribution(name="x", version="1", path="/x", license=None)]
    found = document(contents(installed("curl", "1:1-1"), distributions=distributions, owners={"/x": "curl"}))
    used = {
        entry["name"]
        for item in (found["metadata"]["component"], *found["components"])
        for entry in item.get("properties", [])
    }
    documented = (ROOT / "docs" / "sbom.md").read_text(encoding="utf-8")
    assert used == set(re.findall(r"`((?:fountainkit|aquasecurity):[A-Za-z:-]+)`", documented))
