"""Bring an image into the cache. Whatever happens, under its final name there is the right file or none.

Runs on Python 3.10 too, for consumers of the image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ci.consume.cache import Cache, Condition
from ci.consume.wanted import Wanted
from ci.fetch.download import download
from ci.fetch.open_url import Client
from ci.host.errors import FetchError, HostError, InputError, ToolsmithError
from ci.host.progress import Reporter
from ci.host.workspace import exclusive


class How(Enum):
    """How an image came to be in the cache."""

    CACHED = "cached"
    COPIED = "copied"
    DOWNLOADED = "downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hydrated:
    """An image in the cache, verified; `size` in bytes."""

    path: Path
    size: int
    how: How


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run may use."""

    client: Client
    reporter: Reporter
    offline: bool = False


def hydrate(wanted: Wanted, cache: Cache, means: Means) -> Hydrated:
    """Have the image in the cache, verified.

    Raises VerificationError where what came is not it, FetchError where nothing came, InputError where nobody knows
    where it is, HostError where this machine cannot hold it.
    """
    if cache.examine(wanted, means.reporter) is Condition.VERIFIED:
        return _hydrated(cache.path(wanted), How.CACHED)
    with locked(cache, means.reporter):
        return _fill(wanted, cache, means)


@contextmanager
def locked(cache: Cache, reporter: Reporter) -> Iterator[None]:
    """What a run that changes the cache, or the manifest, does it in; raises HostError where a file cannot be used."""
    try:
        with exclusive(cache.lock, waiting=lambda: reporter.step("another run is at work in this cache; waiting")):
            yield
    except OSError as error:
        raise HostError(
            f"{error.filename or cache.folder} cannot be used: {error.strerror}",
            hint="Check the folder's owner and permissions.",
        ) from error


def _fill(wanted: Wanted, cache: Cache, means: Means) -> Hydrated:
    path = cache.path(wanted)
    condition = cache.examine(wanted, means.reporter)
    if condition is Condition.VERIFIED:  # another run was faster
        return _hydrated(path, How.CACHED)
    if condition is Condition.CORRUPT:
        means.reporter.warn(f"{path} is not what the manifest promises; it is replaced")
        path.unlink()
    try:
        source = _required_source(wanted, offline=means.offline)
        download(source, path, sha256=wanted.sha256, size=wanted.size, client=means.client, reporter=means.reporter)
    except ToolsmithError:
        cache.forget_empty(wanted)
        raise
    return _hydrated(path, How.DOWNLOADED if wanted.from_web else How.COPIED)


def _required_source(wanted: Wanted, *, offline: bool) -> str:
    if wanted.source is None:
        raise InputError(
            f"{wanted.file} is neither in the cache nor beside the manifest, which does not say where it is published",
            hint="Put the file beside the manifest, or name the release's manifest with --manifest.",
        )
    if offline and wanted.from_web:
        raise FetchError(
            f"{wanted.file} is not in the cache, and --offline forbids to fetch it", hint="Run it without --offline."
        )
    return wanted.source


def _hydrated(path: Path, how: How) -> Hydrated:
    return Hydrated(path=path, size=path.stat().st_size, how=how)
