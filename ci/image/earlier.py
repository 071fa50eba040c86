"""An earlier image's list of packages, to explain by it what grew: from an earlier build, or from the last release."""

from dataclasses import dataclass
from pathlib import Path

from ci.fetch.download import read_url
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host.errors import InputError, ToolsmithError
from ci.host.progress import Reporter
from ci.records import artifacts
from ci.records.packages import Package, parse_packages
from ci.records.published import read_releases, require_bytes
from ci.records.release import AssetRecord
from ci.records.version import Version

PACKAGES = artifacts.PACKAGES
IMPATIENT = Client(patience=Patience(attempts=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The packages of an earlier image, and the file that lists them."""

    name: str
    packages: tuple[Package, ...]


def of_builds(folder: Path, distribution: str) -> Earlier | None:
    """The newest image of this distribution in `folder`, of the same version too; None where its list is not there."""
    prefix = f"fountainkit-toolsmith-{distribution}-"
    found = []
    for path in folder.glob(f"{prefix}v*{PACKAGES}"):
        try:
            version = Version.parse(path.name.removeprefix(prefix).removesuffix(PACKAGES))
            found.append((version, Earlier(name=path.name, packages=parse_packages(path.read_bytes(), path.name))))
        except (InputError, OSError):
            continue  # it only helps to explain
    return max(found, key=lambda pair: pair[0])[1] if found else None


def of_releases(folder: Path, distribution: str, reporter: Reporter) -> Earlier | None:
    """The image of this distribution in the newest release of which `folder` has the record; fetches its list.

    None where there is no such release, or where its list cannot be had, as without a token from a private repository.
    """
    try:
        asset = _newest_list(folder, distribution)
        if asset is None:
            return None
        data = require_bytes(read_url(asset.url, max_bytes=asset.size, reporter=reporter, client=IMPATIENT), asset)
        return Earlier(name=asset.name, packages=parse_packages(data, asset.name))
    except (ToolsmithError, OSError) as error:
        reporter.note(f"What grew since the last release is not known: {error}")
        return None


def _newest_list(folder: Path, distribution: str) -> AssetRecord | None:
    for record in read_releases(folder):
        if isinstance(record, ToolsmithError):
            raise record
        for image in record.images:
            if image.distribution == distribution:
                return image.file(PACKAGES)
    return None
