"""The bytes of assets, up and down.

Not through PyGithub: its uploads have no timeout and its downloads hold the whole file in memory.
https://github.com/PyGithub/PyGithub/blob/v2.10.0/github/Requester.py
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import requests
from pydantic import ValidationError

from ci.fetch.github_access import require_safe_url
from ci.fetch.retry import Patience
from ci.fetch.session import USER_AGENT
from ci.fetch.source import AbsentError, TransientError
from ci.github.answers import Asset, Release
from ci.github.context import Context
from ci.github.failures import from_status
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
        self._token = context.token
        self._patience = patience

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A connection; what fails on it fails in passing."""
        with requests.Session() as session:
            if self._token is not None:
                session.headers["Authorization"] = f"Bearer {self._token}"
            session.headers["User-Agent"] = USER_AGENT
            # A .netrc must not replace the token: https://requests.readthedocs.io/en/latest/user/authentication/
            session.auth = lambda request: request
            try:
                yield session
            except requests.RequestException as error:
                raise TransientError(f"{type(error).__name__}") from error

    def upload(self, release: Release, path: Path, advance: Callable[[int], None]) -> Asset:
        """Send a file to a draft, once. Raises NameTakenError where an asset of this name is there already.

        Every wait for the network is bounded, and so is the whole attempt.
        """
        url = release.upload_url.partition("{")[0]
        require_safe_url(url, "the upload URL")
        size = path.stat().st_size
        seconds = self._patience.upload_timeout + size / self._patience.slowest
        timeout = (self._patience.timeout, self._patience.upload_timeout)
        request = f"upload of {path.name}"
        with path.open("rb", buffering=0) as file, self._session() as session:
            response = session.post(
                url,
                params={"name": path.name},
                data=_Body(file, size, seconds, advance),
                headers={"Content-Type": "application/octet-stream", "Accept": "application/vnd.github+json"},
                timeout=timeout,
                allow_redirects=False,
            )
        try:
            _raise_for(response, request)
        except RejectedError as refusal:
            if "already_exists" in refusal.codes:
                raise NameTakenError("an asset of this name is there already") from refusal
            raise
        try:
            return Asset.model_validate_json(response.content)
        except ValidationError as error:
            raise TransientError("the answer makes no sense") from error

    def read(self, asset: Asset) -> bytes:
        """A published small asset's bytes, once; raises VerificationError where they are not of GitHub's digest."""
        if asset.size > LARGEST_READ:
            raise RemoteError(f"{asset.name} has {asset.size} bytes, which is too large for what it should be")
        if (data := self._read_public(asset)) is None:
            data = b"".join(self._chunks(asset))
        if asset.sha256 and hashlib.sha256(data).hexdigest() != asset.sha256:
            raise VerificationError(f"{asset.name} arrived altered", hint="Run it again; look for a proxy on the way.")
        return data

    def _read_public(self, asset: Asset) -> bytes | None:
        """The bytes from where anybody gets them, which is no call of the API and so counts towards none of its limits.

        None where only the API gives them: of a private repository, behind a login, or without a digest to compare.
        """
        if asset.sha256 is None:
            return None
        data = bytearray()
        try:
            # None takes the session's token out: it is for the API alone.
            for chunk in self._get(asset.browser_download_url, f"download of {asset.name}", {"Authorization": None}):
                data += chunk
                if len(data) > asset.size:
                    return None
        except (AbsentError, AccessError, RejectedError):
            return None
        return bytes(data) if hashlib.sha256(data).hexdigest() == asset.sha256 else None

    def sha256(self, asset: Asset) -> str:
        """The digest of an asset's bytes as they are downloaded, once; for where GitHub tells none."""
        digest = hashlib.sha256()
        for chunk in self._chunks(asset):
            digest.update(chunk)
        return digest.hexdigest()

    def _chunks(self, asset: Asset) -> Iterator[bytes]:
        require_safe_url(asset.url, "the asset's URL")
        # Requests drops the token when it is sent on to the host that has the bytes.
        yield from self._get(asset.url, f"download of {asset.name}", {"Accept": "application/octet-stream"})

    def _get(self, url: str, request: str, headers: Mapping[str, str | None]) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity", **headers}
        with (
            self._session() as session,
            session.get(url, headers=headers, stream=True, timeout=self._patience.timeout) as response,
        ):
            _raise_for(response, request)
            yield from response.iter_content(CHUNK_BYTES)


def _raise_for(response: requests.Response, request: str) -> None:
    if response.status_code < 300:
        return
    if response.status_code < 400:
        raise RemoteError(f"GitHub answers the {request} with a redirect (status {response.status_code})")
    try:
        data = response.json()
    except requests.RequestException:
        data = None
    raise from_status(response.status_code, response.headers, data, request)
