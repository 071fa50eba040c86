"""An earlier image's list of packages, to explain by it what grew: from an earlier build, or from the last release."""

from pathlib import Path
from typing import NamedTuple

from ci.fetch.download import read_url
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host.errors import InputError, ToolsmithError
from ci.host.progress import Reporter
from ci.records.artifacts import PACKAGES
from ci.records.packages import Package, parse_packages
from ci.records.published import read_releases, require_bytes
from ci.records.version import Version

IMPATIENT = Client(patience=Patience(attempts=2))


class Earlier(NamedTuple):
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
            found.append((version, Earlier(path.name, parse_packages(path.read_bytes(), path.name))))
        except (InputError, OSError):
            continue  # it only helps to explain
    return max(found, key=lambda pair: pair[0])[1] if found else None


def of_releases(folder: Path, distribution: str, reporter: Reporter) -> Earlier | None:
    """The image of this distribution in the newest release of which `folder` has the record; fetches its list.

    None where there is no such release, or where its list cannot be had, as without a token from a private repository.
    """
    try:
        for record in read_releases(folder):
            if isinstance(record, ToolsmithError):
                raise record
            for image in record.images:
                if image.distribution == distribution and (asset := image.file(PACKAGES)):
                    data = read_url(asset.url, max_bytes=asset.size, reporter=reporter, client=IMPATIENT)
                    return Earlier(asset.name, parse_packages(require_bytes(data, asset), asset.name))
    except (ToolsmithError, OSError) as error:
        reporter.note(f"What grew since the last release is not known: {error}")
    return None
