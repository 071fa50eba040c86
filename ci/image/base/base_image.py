"""Which base image is used, and who vouches for it."""

import functools
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import Field

from ci.fetch.download import download, download_if_present, parse_sha256, past_caches
from ci.fetch.open_url import ANONYMOUS, Client
from ci.fetch.source import public_url
from ci.host.errors import VerificationError
from ci.host.files import sha256_file, sync
from ci.host.progress import Reporter
from ci.host.workspace import exclusive
from ci.image.base.signatures import ONE_DIGEST, UnlistedError, digest_of, require_keyring, trusted_signer
from ci.records.build import BaseImageRecord, Verification

MAX_CHECKSUMS_BYTES = 1 << 20
CHECKSUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.gpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSource:
    """A base image's URL (https, http or file) and what its bytes are checked against.

    `sha256` comes first, `digest_source` tells where it is written. Without it the file must be listed in a
    SHA256SUMS beside it, signed by a key in `keyring` whose fingerprint is in `fingerprints`.
    """

    url: str
    sha256: str | None = None
    digest_source: str = "given by the caller"
    keyring: Path | None = None
    fingerprints: tuple[str, ...] = ()


class VerifiedBase(BaseImageRecord):
    """A base image in the cache, read-only. `url` has no credentials."""

    path: Path = Field(exclude=True)


class Promise(NamedTuple):
    """The digest the image must have, and who says so."""

    sha256: str
    verification: Verification
    verified_by: str


def fetch_base(
    source: BaseSource, *, cache: Path, allow_unverified: bool, reporter: Reporter, client: Client = ANONYMOUS
) -> VerifiedBase:
    """Return the base image from the cache, fetching it where it is missing or damaged.

    Raises VerificationError where nothing vouches for the image (unless `allow_unverified`) or it is another than
    promised, FetchError, InputError (digest, URL, fingerprint) or HostError (space, keyring).
    """
    folder = cache / "base"
    promise = _find_promise(source, folder, allow_unverified=allow_unverified, reporter=reporter, client=client)
    # Of this URL alone, so that the next run finds it and continues.
    partial = folder / "partial" / hashlib.sha256(source.url.encode()).hexdigest()[:32]
    waiting = functools.partial(reporter.step, "Waiting for another run that fetches this base image")
    # The lock of a URL is always taken before that of a digest: another URL may bring the same bytes at the same time.
    with exclusive(partial.with_suffix(".lock"), waiting):
        fetched = promise is None
        if promise is None:
            got = download(source.url, partial, sha256=None, reporter=reporter, client=client)
            reporter.warn(f"nobody vouches for {got.url}; to pin what came now: BASE_IMAGE_SHA256={got.sha256}")
            promise = Promise(got.sha256, Verification.NONE, "nobody")
        entry = folder / "sha256" / promise.sha256
        with exclusive(entry.with_name(f".{entry.name}.lock"), waiting):
            if not _intact(entry, promise.sha256, reporter):
                if not fetched:
                    download(source.url, partial, sha256=promise.sha256, reporter=reporter, client=client)
                partial.chmod(0o444)
                partial.replace(entry)
                sync(entry.parent)
            partial.unlink(missing_ok=True)
            size = entry.stat().st_size
    return VerifiedBase(path=entry, url=public_url(source.url), size=size, **promise._asdict())


def _find_promise(
    source: BaseSource, folder: Path, *, allow_unverified: bool, reporter: Reporter, client: Client
) -> Promise | None:
    """What the image must be; None where nothing tells and that is allowed."""
    if source.sha256 is not None:
        return Promise(parse_sha256(source.sha256), Verification.PINNED_DIGEST, f"SHA-256 {source.digest_source}")
    if source.keyring is None:
        missing = "it has no pinned digest and no keyring"
    elif allow_unverified and not source.keyring.exists():
        missing = f"the keyring {source.keyring} does not exist"
    else:
        require_keyring(source.keyring)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".checksums-") as temporary:

            def listed(asked: Client) -> Promise | None:
                try:
                    return signed_promise(source, Path(temporary), reporter, asked)
                except UnlistedError as error:
                    raise VerificationError(str(error), hint=ONE_DIGEST) from error

            # Two files that belong together: a cache on the way may have one of them from yesterday.
            promise = past_caches(client, reporter, listed)
        if promise:
            return promise
        missing = f"there is no {CHECKSUMS} with {SIGNATURE} beside it"
    if allow_unverified:
        reporter.warn(f"{public_url(source.url)} is used unverified: {missing}")
        return None
    raise VerificationError(
        f"nothing vouches for {public_url(source.url)}: {missing}",
        hint="Pin its digest with BASE_IMAGE_SHA256 (from the publisher, over https), or use an image with a signed "
        f"{CHECKSUMS}. To build from it all the same, never for a release: --allow-unverified-base.",
    )


def signed_promise(source: BaseSource, temporary: Path, reporter: Reporter, client: Client) -> Promise | None:
    """What the signed list beside the image says; None where there is no list or no signature.

    A list that is there and wrong is an error always: somebody may have altered it. Raises UnlistedError where it has
    no line for the image.
    """
    assert source.keyring is not None  # noqa: S101 - the caller's to see to
    checksums, signature = temporary / CHECKSUMS, temporary / SIGNATURE
    for path in (checksums, signature):
        got = download_if_present(
            sibling(source.url, path.name), path, reporter=reporter, max_bytes=MAX_CHECKSUMS_BYTES, client=client
        )
        if got is None:
            return None
    signer = trusted_signer([signature, checksums], CHECKSUMS, keyring=source.keyring, fingerprints=source.fingerprints)
    listing = public_url(sibling(source.url, CHECKSUMS))
    name = unquote(urlsplit(source.url).path.rpartition("/")[2])
    digest = digest_of(checksums.read_text(encoding="utf-8", errors="replace"), name, source=listing)
    return Promise(digest, Verification.SIGNED_CHECKSUMS, signer)


def sibling(url: str, name: str) -> str:
    """The URL of `name` in the same folder; credentials and query stay."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}", fragment=""))


def _intact(entry: Path, sha256: str, reporter: Reporter) -> bool:
    if not entry.is_file():
        return False
    with reporter.transfer("verify the cached base image", entry.stat().st_size) as advance:
        actual = sha256_file(entry, advance)
    if actual == sha256:
        return True
    reporter.warn(f"the cached base image {entry} is damaged (its SHA-256 is now {actual}); it is fetched again")
    entry.unlink()
    return False
