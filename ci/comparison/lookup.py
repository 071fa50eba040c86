"""What a person names to be compared: a build, a release, a list of packages; here or on the network."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ci.comparison.image_facts import ComparedImage, of_build, of_packages, of_release, read_build
from ci.fetch.download import read_url, read_url_if_present
from ci.fetch.open_url import Client
from ci.fetch.source import public_url
from ci.host.errors import FetchError, InputError
from ci.host.progress import Reporter
from ci.records import artifacts
from ci.records.packages import HEADER, parse_packages
from ci.records.published import MAX_BYTES, parse_release, read_release
from ci.records.record import schema_of
from ci.records.release import ReleaseRecord
from ci.records.version import Version

KINDS = (
    "It may be a build (*.build.json, or its name in dist/), a tag, a list of packages (*.packages.tsv), or an https "
    "URL of a release.json or of a list of packages."
)

_WEB = re.compile(r"https?://", re.IGNORECASE)
_BUILD_SCHEMA = "fountainkit-toolsmith-image/build/"
_RELEASE_SCHEMA = "fountainkit-toolsmith-image/release/"

# One image, or a release of which one is still to be chosen.
Found = ComparedImage | ReleaseRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Where names lead: `dist` has builds, `releases` the records of releases, and `repository`, OWNER/NAME, the rest.

    `server` is the GitHub of `repository`, which is empty where none is known. Local files are fetched like others, so
    that all are bounded the same way.
    """

    dist: Path
    releases: Path
    server: str
    repository: str
    client: Client
    reporter: Reporter

    def pair(self, old: str, new: str, image: str | None) -> tuple[ComparedImage, ComparedImage]:
        """Two images to compare; of a release that of the definition `image`, else one that the other has too."""
        one, other = self.find(old), self.find(new)
        return self.choose(old, one, image, names(other)), self.choose(new, other, image, names(one))

    def find(self, name: str) -> Found:
        """What `name` names; raises InputError, FetchError, AccessError or VerificationError."""
        if _WEB.match(name):
            return self._parse(self._url(name), public_url(name), urlsplit(name).path)
        if (path := self.local_file(name)) is not None:
            return self._local(path)
        if name.startswith("v") and "/" not in name:
            return self._release(str(Version.parse(name)))
        raise InputError(f"there is nothing called {name!r}", hint=KINDS)

    def local_file(self, name: str) -> Path | None:
        """The file that a name stands for: its own, or that of a build in dist/; None where there is none."""
        try:
            candidates = (Path(name), self.dist / f"{name}{artifacts.BUILD}")
            return next((path for path in candidates if path.is_file()), None)
        except (OSError, ValueError) as error:
            raise InputError(f"{name!r} cannot be looked at: {error}", hint=KINDS) from error

    def choose(self, source: str, found: Found, image: str | None, like: set[str]) -> ComparedImage:
        """One image of what was found: see `pair`."""
        if isinstance(found, ComparedImage):
            return found
        fitting = [one for one in found.images if (one.name in like if image is None else one.definition == image)]
        if image is not None and not fitting:
            known = ", ".join(one.definition for one in found.images)
            raise InputError(f"{source} has no image '{image}'", hint=f"It has: {known}.")
        return of_release(source, found, (*fitting, found.image)[0], lambda asset: self._url(asset.url))

    def _local(self, path: Path) -> Found:
        data, source = self._url(path.absolute().as_uri()), str(path)
        if _is_packages(data, path.name) or not _has_schema(data, _BUILD_SCHEMA):
            return self._parse(data, source, path.name)
        return of_build(source, read_build(path))

    def _parse(self, data: bytes, source: str, name: str) -> Found:
        if _is_packages(data, name):
            return of_packages(source, parse_packages(data, source))
        if not _has_schema(data, _RELEASE_SCHEMA):
            raise InputError(f"{source} is neither a build, nor a release, nor a list of packages", hint=KINDS)
        return parse_release(data, source)

    def _release(self, tag: str) -> ReleaseRecord:
        local = self.releases / f"{tag}.json"
        if local.is_file():
            return read_release(local)
        if not self.repository:
            raise InputError(
                f"{self.releases} has no record of {tag}",
                hint="Name the repository that released it: --repository OWNER/NAME, or GITHUB_REPOSITORY.",
            )
        url = f"{self.server}/{self.repository}/releases/download/{tag}/{artifacts.RELEASE}"
        data = read_url_if_present(url, max_bytes=MAX_BYTES, reporter=self.reporter, client=self.client)
        if data is None:
            raise FetchError(
                f"{self.repository} has no release {tag}, or one without a {artifacts.RELEASE}",
                hint="Check the tag for typing errors. A private repository needs GITHUB_TOKEN. What was not released "
                "by this repository's automation has no record: compare package lists instead.",
            )
        return parse_release(data, public_url(url), tag=tag)

    def _url(self, url: str) -> bytes:
        return read_url(url, max_bytes=MAX_BYTES, reporter=self.reporter, client=self.client)


def names(found: Found) -> set[str]:
    """The names that the images of what was found go by, without their versions."""
    if isinstance(found, ReleaseRecord):
        return {image.name for image in found.images}
    return {found.facts.name} if found.facts.name else set()


def _is_packages(data: bytes, name: str) -> bool:
    return name.endswith(artifacts.PACKAGES) or data.startswith(HEADER.encode())


def _has_schema(data: bytes, beginning: str) -> bool:
    return (schema_of(data) or "").startswith(beginning)
