"""The bytes of assets, up and down.

Not through PyGithub: its uploads have no timeout and its downloads hold the whole file in memory.
https://github.com/PyGithub/PyGithub/blob/v2.10.0/github/Requester.py
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

from ci.fetch.retry import Patience
from ci.fetch.session import Bearer, PatientSession, ask, body, send
from ci.fetch.source import AbsentError, TransientError, collected
from ci.github.answers import Asset, Release
from ci.github.api_call import errors_of_github, parsed, raise_for, received
from ci.github.context import Context
from ci.host.errors import AccessError, RejectedError, RemoteError, VerificationError
from ci.host.files import CHUNK_BYTES

# Records and package lists; an image is never read into memory.
LARGEST_READ = 16 << 20


class NameTakenError(TransientError):
    """An asset of the name that an upload is to have is there already."""


class _Body:
    """A file on its way out, in large blocks. Requests takes the length from `__len__`, and streams from `__iter__`.

    It has no `read`, from which urllib3 would take blocks of 16 KiB.
    """

    def __init__(self, file: IO[bytes], size: int, seconds: float, advance: Callable[[int], None]) -> None:
        self._file = file
        self._size = size
        self._deadline = time.monotonic() + seconds
        self._advance = advance

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(CHUNK_BYTES):
            if time.monotonic() > self._deadline:
                raise TransientError("the upload is too slow")
            self._advance(len(block))
            yield block


class Transfer:
    """Moves the bytes of a repository's assets, each once; ci/github/client.py repeats what failed in passing."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def _bearer(self, url: str, what: str) -> Bearer | None:
        """The token, for a URL of this GitHub's; raises RemoteError where it is another's."""
        self._context.require_own(url, what)
        return None if self._context.token is None else Bearer(self._context.token, url)

    def upload(self, release: Release, path: Path, advance: Callable[[int], None]) -> Asset:
        """Send a file to a draft, once. Raises NameTakenError where an asset of this name is there already.

        Every wait for the network is bounded, and so is the whole attempt.
        """
        url = release.upload_url.partition("{")[0]
        bearer = self._bearer(url, "the upload URL")
        size = path.stat().st_size
        seconds = self._patience.upload_timeout + size / self._patience.slowest
        headers = {"Content-Type": "application/octet-stream", "Accept": "application/vnd.github+json"}
        request = f"upload of {path.name}"
        with path.open("rb", buffering=0) as file, PatientSession(self._patience) as session, errors_of_github():
            data = _Body(file, size, seconds, advance)
            at = f"{url}?{urlencode({'name': path.name})}"
            with send(session, "POST", at, headers, auth=bearer, data=data, seconds=seconds) as response:
                content = received(response, session)
        try:
            raise_for(response, content, request, url)
        except RejectedError as refusal:
            if "already_exists" in refusal.codes:
                raise NameTakenError("an asset of this name is there already") from refusal
            raise
        return parsed(request, Asset, content)

    def read(self, asset: Asset) -> bytes:
        """A published small asset's bytes; raises VerificationError where they twice differ from GitHub's digest."""
        if asset.size > LARGEST_READ:
            raise RemoteError(f"{asset.name} has {asset.size} bytes, which is too large for what it should be")
        public = self._read_public(asset)
        data = public if _is(asset, public) else collected(self._chunks(asset), asset.size)
        if data is None or not _is(asset, data):
            failure = _altered(asset)
            raise failure if public is None else failure.final or failure
        return data

    def _read_public(self, asset: Asset) -> bytes | None:
        """The bytes from where anybody gets them, which is no call of the API and so counts towards none of its limits.

        None where only the API gives them: of a private repository, behind a login, or without a digest to compare.
        """
        if asset.sha256 is None:
            return None
        try:
            return collected(self._get(asset.browser_download_url, f"download of {asset.name}", {}), asset.size)
        except (AbsentError, AccessError, RejectedError):
            return None

    def sha256(self, asset: Asset) -> str:
        """The digest of an asset's bytes as they are downloaded; for where GitHub tells none."""
        digest, left = hashlib.sha256(), asset.size
        for chunk in self._chunks(asset):
            digest.update(chunk)
            if (left := left - len(chunk)) < 0:
                break
        if left:
            raise _altered(asset)
        return digest.hexdigest()

    def _chunks(self, asset: Asset) -> Iterator[bytes]:
        bearer = self._bearer(asset.url, "the asset's URL")
        yield from self._get(asset.url, f"download of {asset.name}", {"Accept": "application/octet-stream"}, bearer)

    def _get(self, url: str, request: str, headers: Mapping[str, str], bearer: Bearer | None = None) -> Iterator[bytes]:
        with (
            errors_of_github(),
            PatientSession(self._patience) as session,
            ask(session, "GET", url, headers, bearer=bearer) as response,
        ):
            if response.status_code >= 300:
                raise_for(response, received(response, session), request, url)
            yield from body(response, self._patience)


def _is(asset: Asset, data: bytes | None) -> bool:
    """Whether they are of the size and of the digest that GitHub tells, if any."""
    return data is not None and len(data) == asset.size and asset.sha256 in {None, hashlib.sha256(data).hexdigest()}


def _altered(asset: Asset) -> TransientError:
    """It is not of the size or the digest that GitHub tells: an error only where it comes so twice."""
    final = VerificationError(
        f"{asset.name} arrived altered, twice: it is not of the size and the digest that GitHub tells",
        hint="Look for a proxy on the way, then run it again.",
    )
    return TransientError("it arrived altered", retry_after=0, final=final)
