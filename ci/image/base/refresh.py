"""Is there a newer base? Reads a definition's stream, decides, and looks whether all of the new base is there.

Nothing here asks this machine's clock: serials are compared with each other and with the stream's own date.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ci.fetch.download import announced_size, download
from ci.fetch.open_url import ANONYMOUS, Client
from ci.fetch.source import AbsentError
from ci.host.errors import InputError, VerificationError
from ci.host.progress import Reporter
from ci.image.base.base_image import CHECKSUMS, SIGNATURE, BaseSource, sibling, signed_promise
from ci.image.base.signatures import UnlistedError, read_clearsigned
from ci.image.base.streams import Offer, Product, Serial, find_list, read_product
from ci.image.definition import SIGNED_INDEX, Base, Streams

MAX_INDEX_BYTES = 8 << 20
MAX_LIST_BYTES = 64 << 20

_DATED = re.compile(r"(?P<before>.*/(?P<release>[^/]+)/release-)(?P<serial>[0-9.]+)/(?P<file>[^/?#]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """The base that a definition pins, by a URL with its serial in it: `.../<release>/release-<serial>/<file>`."""

    url: str
    sha256: str
    serial: Serial

    def at(self, serial: Serial) -> str:
        """The URL of the same file of another serial."""
        found = _DATED.fullmatch(self.url)
        assert found is not None  # noqa: S101 - it was read from it
        return f"{found['before']}{serial}/{found['file']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """A newer base, with what it was verified by. `vanished` tells that the stream no longer has the pinned one."""

    pinned: Pinned
    serial: Serial
    url: str
    sha256: str
    size: int
    index: str
    updated: str
    stream_signer: str
    checksums_signer: str
    vanished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """There is nothing to propose; `unusual` where a person should know."""

    reason: str
    unusual: bool = False


def pinned_base(base: Base, where: str) -> Pinned:
    """The base that is pinned now; raises InputError where its URL is not that of one serial."""
    url = str(base.url)
    found = _DATED.fullmatch(url)
    serial = Serial.parse(found["serial"]) if found else None
    if serial is None or base.sha256 is None:
        raise InputError(
            f"`base.url` of {where} does not say which serial it is of: {url}",
            hint="A base that follows a stream is pinned by its dated URL: .../<release>/release-<serial>/<file>.",
        )
    return Pinned(url=url, sha256=base.sha256, serial=serial)


def choose(pinned: Pinned, product: Product) -> Offer | Nothing:
    """The newest offer if it is newer than what is pinned. Raises VerificationError where both disagree."""
    there = {offer.serial: offer for offer in product.offers}
    same = there.get(pinned.serial)
    if same is not None and same.sha256 != pinned.sha256:
        raise VerificationError(
            f"the stream gives {pinned.serial} of {product.name} the SHA-256 {same.sha256}, pinned is {pinned.sha256}",
            hint="A published image was replaced, or the pinned digest is wrong. Compare both with SHA256SUMS in the "
            "image's folder, and correct the definition by hand.",
        )
    unfinished = [serial for serial in product.incomplete if serial > pinned.serial]
    waiting = f"; {unfinished[-1]} is announced without the file" if unfinished else ""
    newest = max(there, default=None)
    if newest is None:
        return Nothing(reason=f"{product.name} has no released serial{waiting}", unusual=True)
    if newest == pinned.serial:
        return Nothing(reason=f"{pinned.serial} is the newest serial of {product.name}{waiting}")
    if newest < pinned.serial:
        return Nothing(
            reason=f"{pinned.serial} is pinned, and the newest serial of {product.name} is {newest}: the pinned one "
            f"was taken back, or this stream is an old one{waiting}",
            unusual=True,
        )
    return there[newest]


def new_url(pinned: Pinned, offer: Offer) -> str:
    """The pinned URL with the offer's serial; raises VerificationError where the offer is for another file."""
    url = pinned.at(offer.serial)
    # The stream's root and the pinned URL's may be different names of one place; release, serial and file must agree.
    if url.rsplit("/", 3)[1:] != offer.path.rsplit("/", 3)[-3:]:
        raise VerificationError(
            f"the stream has {offer.serial} at {offer.path}, which does not fit the URL that is pinned: {pinned.url}",
            hint="The publisher changed its folders or file names, or `base.streams` names another product than "
            "`base.url`. Pin the new form by hand once: docs/definitions.md.",
        )
    return url


def find_newer(
    base: Base, where: str, *, root: Path, reporter: Reporter, client: Client = ANONYMOUS
) -> Newer | Nothing:
    """The newer base of a definition that has `base.streams`, or why there is none. `where` names it in errors.

    The keyring is relative to `root`. Raises VerificationError, InputError, FetchError or HostError.
    """
    assert base.streams is not None  # noqa: S101 - the caller's to see to
    assert base.keyring is not None  # noqa: S101 - a definition with `streams` has it
    pinned = pinned_base(base, where)
    with tempfile.TemporaryDirectory(prefix="streams-") as folder:
        publisher = _Publisher(
            streams=base.streams,
            keyring=root / base.keyring,
            fingerprints=base.fingerprints,
            folder=Path(folder),
            reporter=reporter,
            client=client,
        )
        product, stream_signer = publisher.product()
        offer = choose(pinned, product)
        if isinstance(offer, Nothing):
            return offer
        url = new_url(pinned, offer)
        checksums_signer = publisher.confirm(url, offer)
    if isinstance(checksums_signer, Nothing):
        return checksums_signer
    return Newer(
        pinned=pinned,
        serial=offer.serial,
        url=url,
        sha256=offer.sha256,
        size=offer.size,
        index=str(base.streams.index),
        updated=f"{product.updated:%Y-%m-%d %H:%M} UTC",
        stream_signer=stream_signer,
        checksums_signer=checksums_signer,
        vanished=all(one.serial != pinned.serial for one in product.offers),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Publisher:
    """What the publisher has, believed only where a key of `fingerprints` signed it; files go to `folder`."""

    streams: Streams
    keyring: Path
    fingerprints: tuple[str, ...]
    folder: Path
    reporter: Reporter
    client: Client

    def product(self) -> tuple[Product, str]:
        """The product that the definition follows, and who signed the list that has it."""
        wanted, index = self.streams, str(self.streams.index)
        text, _ = self._signed(index, "index", MAX_INDEX_BYTES)
        expected = find_list(text, wanted.product, index)
        at = f"{index.removesuffix(SIGNED_INDEX)}/{quote(expected.path, safe='/:+')}"
        text, signer = self._signed(at, "list", MAX_LIST_BYTES)
        return read_product(text, expected, wanted.product, wanted.item, at), signer

    def _signed(self, url: str, name: str, limit: int) -> tuple[bytes, str]:
        path = self.folder / name
        download(url, path, sha256=None, reporter=self.reporter, max_bytes=limit, client=self.client)
        return read_clearsigned(path, name=url, keyring=self.keyring, fingerprints=self.fingerprints)

    def confirm(self, url: str, offer: Offer) -> str | Nothing:
        """Who vouches for the image beside itself; Nothing where the serial is not published to the end yet."""
        self.reporter.note(f"Looking whether all is there: {url}")
        try:
            size = announced_size(url, reporter=self.reporter, client=self.client)
        except AbsentError:
            return _unfinished(offer, "its image is not there yet")
        if size is not None and size != offer.size:
            return _unfinished(offer, f"its image has {size} bytes, {offer.size} are announced")
        source = BaseSource(url=url, keyring=self.keyring, fingerprints=self.fingerprints)
        try:
            promise = signed_promise(source, self.keyring, self.folder, self.reporter, self.client)
        except UnlistedError:
            return _unfinished(offer, f"{CHECKSUMS} beside its image has no line for it yet")
        if promise is None:
            return _unfinished(offer, f"there is no {CHECKSUMS} with {SIGNATURE} beside its image")
        if promise.sha256 != offer.sha256:
            raise VerificationError(
                f"{sibling(url, CHECKSUMS)} has the SHA-256 {promise.sha256}, the stream {offer.sha256}; both are "
                "signed",
                hint="The publisher replaced an image, or one of the two is an old copy. Try again later, and do not "
                "use this serial while they disagree.",
            )
        return promise.verified_by


def _unfinished(offer: Offer, problem: str) -> Nothing:
    return Nothing(
        reason=f"{offer.serial} is announced and not published to the end: {problem}. The next run looks again",
        unusual=True,
    )
