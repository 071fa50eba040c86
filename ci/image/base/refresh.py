"""Is there a newer base? Reads a definition's stream, decides, and looks whether all of the new base is there.

Nothing here asks this machine's clock: serials are compared with each other and with the stream's own date.
"""

import re
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from ci.fetch.download import announced_size, download, past_caches
from ci.fetch.open_url import ANONYMOUS, Client
from ci.fetch.source import AbsentError
from ci.host.errors import InputError, VerificationError
from ci.host.progress import Reporter
from ci.image.base.base_image import CHECKSUMS, SIGNATURE, BaseSource, sibling, signed_promise
from ci.image.base.signatures import UnlistedError, read_clearsigned
from ci.image.base.streams import Offer, Product, Serial, find_list, read_product
from ci.image.definition import SIGNED_INDEX, Base

MAX_INDEX_BYTES = 8 << 20
MAX_LIST_BYTES = 64 << 20

_DATED = re.compile(r".*/[^/]+/release-(?P<serial>[0-9.]+)/[^/?#]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """The base that a definition pins, by a URL with its serial in it: `.../<release>/release-<serial>/<file>`."""

    url: str
    sha256: str
    serial: Serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """A newer base, with what it was verified by. `vanished` tells that the stream no longer has the pinned one."""

    pinned: Pinned
    offer: Offer
    url: str
    index: str
    updated: str
    stream_signer: str
    checksums_signer: str
    vanished: bool


class NothingNewerError(Exception):
    """There is nothing to propose; `unusual` where a person should know."""

    def __init__(self, reason: str, *, unusual: bool = True) -> None:
        super().__init__(reason)
        self.unusual = unusual


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


def choose(pinned: Pinned, product: Product) -> Offer:
    """The newest offer. Raises NothingNewerError, or VerificationError where it disagrees with what is pinned."""
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
        raise NothingNewerError(f"{product.name} has no released serial{waiting}")
    if newest == pinned.serial:
        raise NothingNewerError(f"{pinned.serial} is the newest serial of {product.name}{waiting}", unusual=False)
    if newest < pinned.serial:
        raise NothingNewerError(
            f"{pinned.serial} is pinned, and the newest serial of {product.name} is {newest}: the pinned one was taken "
            f"back, or this stream is an old one{waiting}"
        )
    return there[newest]


def new_url(pinned: Pinned, offer: Offer) -> str:
    """The pinned URL with the offer's serial; raises VerificationError where the offer is for another file."""
    folder, _, file = pinned.url.rpartition("/")
    url = f"{folder.removesuffix(str(pinned.serial))}{offer.serial}/{file}"
    # The stream's root and the pinned URL's may be different names of one place; release, serial and file must agree.
    if url.rsplit("/", 3)[1:] != offer.path.rsplit("/", 3)[-3:]:
        raise VerificationError(
            f"the stream has {offer.serial} at {offer.path}, which does not fit the URL that is pinned: {pinned.url}",
            hint="The publisher changed its folders or file names, or `base.streams` names another product than "
            "`base.url`. Pin the new form by hand once: docs/definitions.md.",
        )
    return url


def find_newer(base: Base, where: str, *, root: Path, reporter: Reporter, client: Client = ANONYMOUS) -> Newer:
    """The newer base of a definition that has `base.streams`; `where` names it in errors.

    What the publisher has is believed only where a trusted key signed it. The keyring is relative to `root`. Raises
    NothingNewerError, VerificationError, InputError, FetchError or HostError.
    """
    assert base.streams is not None  # noqa: S101 - the caller's to see to
    assert base.keyring is not None  # noqa: S101 - a definition with `streams` has it
    pinned, wanted = pinned_base(base, where), base.streams
    keyring, index = root / base.keyring, str(wanted.index)
    with tempfile.TemporaryDirectory(prefix="streams-") as temporary:
        folder = Path(temporary)

        def signed(url: str, file: Path, limit: int) -> tuple[bytes, str]:
            def attempt(asked: Client) -> tuple[bytes, str]:
                download(url, file, sha256=None, reporter=reporter, max_bytes=limit, client=asked)
                return read_clearsigned(file, name=url, keyring=keyring, fingerprints=base.fingerprints)

            return past_caches(client, reporter, attempt)

        name, path = find_list(signed(index, folder / "index", MAX_INDEX_BYTES)[0], wanted.product, index)
        at = f"{index.removesuffix(SIGNED_INDEX)}/{quote(path, safe='/:+')}"
        text, stream_signer = signed(at, folder / "list", MAX_LIST_BYTES)
        product = read_product(text, name, wanted.product, wanted.item, at)
        offer = choose(pinned, product)
        source = BaseSource(url=new_url(pinned, offer), keyring=keyring, fingerprints=base.fingerprints)
        checksums_signer = _confirm(source, offer, folder, reporter, client)
    return Newer(
        pinned=pinned,
        offer=offer,
        url=source.url,
        index=index,
        updated=f"{product.updated:%Y-%m-%d %H:%M} UTC",
        stream_signer=stream_signer,
        checksums_signer=checksums_signer,
        vanished=all(one.serial != pinned.serial for one in product.offers),
    )


def _confirm(source: BaseSource, offer: Offer, folder: Path, reporter: Reporter, client: Client) -> str:
    """Who vouches for the image beside itself."""
    reporter.note(f"Looking whether all is there: {source.url}")
    try:
        size = announced_size(source.url, reporter=reporter, client=client)
        if size is not None and size != offer.size:
            raise _unfinished(offer, f"its image has {size} bytes, {offer.size} are announced")
        promise = past_caches(client, reporter, partial(signed_promise, source, folder, reporter))
    except AbsentError:
        raise _unfinished(offer, "its image is not there yet") from None
    except UnlistedError:
        raise _unfinished(offer, f"{CHECKSUMS} beside its image has no line for it yet") from None
    if promise is None:
        raise _unfinished(offer, f"there is no {CHECKSUMS} with {SIGNATURE} beside its image")
    if promise.sha256 != offer.sha256:
        raise VerificationError(
            f"{sibling(source.url, CHECKSUMS)} has the SHA-256 {promise.sha256}, the stream {offer.sha256}; both are "
            "signed",
            hint="The publisher replaced an image, or one of the two is an old copy. Try again later, and do not "
            "use this serial while they disagree.",
        )
    return promise.verified_by


def _unfinished(offer: Offer, problem: str) -> NothingNewerError:
    return NothingNewerError(
        f"{offer.serial} is announced and not published to the end: {problem}. The next run looks again"
    )
