import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_mock import MockerFixture
from rich.console import Console

from ci.host.errors import FetchError
from ci.host.progress import Reporter
from ci.image.earlier import Earlier, of_builds, of_releases
from ci.records.artifacts import PACKAGES
from ci.records.packages import Package, to_tsv
from ci.records.release import AssetRecord, ImageRelease
from tests.support.release_records import SITE, make_asset, make_image, make_record

NAME = "fountainkit-toolsmith-debian-12-v2026.11.22.packages.tsv"
OLD = (Package(name="git", version="1", architecture="amd64", installed_kib=40),)
NEW = (Package(name="git", version="2", architecture="amd64", installed_kib=60),)


def test_the_newest_earlier_image_of_the_distribution_is_compared_with(tmp_path: Path) -> None:
    for name, packages in (
        ("debian-12-v2026.11.22", OLD),
        ("debian-12-v2026.11.9", NEW),  # no version
        ("debian-12-v2026.11.21.10", NEW),
        ("ubuntu-2204-v2026.11.30", NEW),
        ("debian-12-extra-v2026.11.30", NEW),
    ):
        (tmp_path / f"fountainkit-toolsmith-{name}.packages.tsv").write_text(to_tsv(packages))
    assert of_builds(tmp_path, "debian-12") == Earlier(name=NAME, packages=OLD)
    (tmp_path / NAME.replace("22", "23")).write_text("damaged")
    (tmp_path / NAME.replace("22", "24")).mkdir()
    assert of_builds(tmp_path, "debian-12") == Earlier(name=NAME, packages=OLD)
    assert of_builds(tmp_path, "debian-13") is None
    assert of_builds(tmp_path / "none", "debian-12") is None


class TestReleases:
    @pytest.fixture
    def said(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def reporter(self, said: io.StringIO) -> Reporter:
        return Reporter(Console(file=said, width=500), in_actions=False)

    @pytest.fixture(autouse=True)
    def web(self, tmp_path: Path, mocker: MockerFixture) -> None:
        """What the records lead to is in a folder of this machine."""

        def read(url: str, **_options: object) -> bytes:
            try:
                return (tmp_path / url.rpartition("/")[2]).read_bytes()
            except OSError as error:
                raise FetchError(f"there is no {url}") from error

        mocker.patch("ci.image.earlier.read_url", read)

    @pytest.fixture
    def image(self, tmp_path: Path) -> Callable[..., ImageRelease]:
        """An image whose list of packages can be had from a folder of this machine."""

        def make(tag: str, packages: tuple[Package, ...], distribution: str = "debian-12") -> ImageRelease:
            path = tmp_path / f"{distribution}-{tag}{PACKAGES}"
            path.write_text(to_tsv(packages))
            data = path.read_bytes()
            url = f"{SITE}/releases/download/{tag}/{path.name}"
            asset = AssetRecord(name=path.name, sha256=hashlib.sha256(data).hexdigest(), size=len(data), url=url)
            qcow2 = make_asset(tag, f"-{distribution}.qcow2", "1", 1000)
            return make_image(tag, distribution=distribution, qcow2=qcow2, assets=[qcow2, asset])

        return make

    @pytest.fixture
    def releases(self, tmp_path: Path, image: Callable[..., ImageRelease]) -> Path:
        """Two releases with an image of each distribution, and what else lies in that folder."""
        folder = tmp_path / "releases"
        folder.mkdir()
        for tag, packages in (("v2026.11.22", OLD), ("v2026.11.21.10", NEW)):
            record = make_record(tag, image(tag, NEW, "ubuntu-2204"), others=[image(tag, packages)])
            record.write(folder / f"{tag}.json")
        (folder / "README.md").touch()
        (folder / "release.schema.json").write_text("{}")
        return folder

    def test_the_newest_release_with_the_distribution_is_compared_with(
        self, releases: Path, reporter: Reporter
    ) -> None:
        found = of_releases(releases, "debian-12", reporter)
        assert found == Earlier(name=f"debian-12-v2026.11.22{PACKAGES}", packages=OLD)
        assert of_releases(releases, "debian-13", reporter) is None
        assert of_releases(releases / "none", "debian-12", reporter) is None

    @pytest.mark.parametrize("damage", ["", "other bytes", None])
    def test_a_list_that_is_not_the_releases_own_is_not_believed(
        self, releases: Path, reporter: Reporter, said: io.StringIO, tmp_path: Path, damage: str | None
    ) -> None:
        path = tmp_path / f"debian-12-v2026.11.22{PACKAGES}"
        path.unlink() if damage is None else path.write_text(damage)
        assert of_releases(releases, "debian-12", reporter) is None
        assert "What grew since the last release is not known" in said.getvalue()

    def test_a_broken_record_is_no_reason_to_fail_otherwise(
        self, releases: Path, reporter: Reporter, said: io.StringIO
    ) -> None:
        (releases / "v2026.11.23.json").write_text("{")
        assert of_releases(releases, "debian-12", reporter) is None
        assert "v2026.11.23.json" in said.getvalue()
