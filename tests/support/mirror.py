"""Ubuntu's image server in small: serials with their signed checksums, announced by signed simplestreams."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.fault_server import FaultServer
from tests.support.signing import Signer

Json = dict[str, Any]

OLD, NEW, NEWEST = "20260705", "20260801", "20260801.1"
PRODUCT, LIST = "com.ubuntu.cloud:server:22.04:amd64", "com.ubuntu.cloud:released:download"
FILE = "ubuntu-22.04-server-cloudimg-amd64.img"
INDEX_PATH, LIST_PATH = "/releases/streams/v1/index.sjson", f"/releases/streams/v1/{LIST}.sjson"
UPDATED = "Mon, 03 Aug 2026 10:11:12 +0000"


def image(serial: str) -> bytes:
    return b"QFI\xfb " + serial.encode()


def digest(serial: str) -> str:
    return hashlib.sha256(image(serial)).hexdigest()


def folder(serial: str) -> str:
    return f"/releases/jammy/release-{serial}"


@dataclass
class Mirror:
    """`serials` are announced; a test may change `products` and `index` before it announces again."""

    server: FaultServer
    signer: Signer
    products: Json = field(default_factory=dict)
    index: Json = field(default_factory=dict)

    def url(self, path: str) -> str:
        return self.server.url(path).replace("127.0.0.1", "localhost")

    def image_url(self, serial: str) -> str:
        return self.url(f"{folder(serial)}/{FILE}")

    def publish(self, *serials: str) -> None:
        """Publish these serials, each to the end, and announce them alone."""
        for serial in serials:
            self.publish_image(serial)
            self.publish_checksums(serial, digest(serial))
        versions = {serial: {"label": "release", "items": {"disk1.img": item(serial)}} for serial in serials}
        product = {"arch": "amd64", "aliases": "22.04,jammy", "version": "22.04", "versions": versions}
        self.products = {
            "content_id": LIST,
            "datatype": "image-downloads",
            "format": "products:1.0",
            "updated": UPDATED,
            "products": {PRODUCT: product, "com.ubuntu.cloud:server:20.04:amd64": {"versions": {}}},
        }
        entry = {
            "datatype": "image-downloads",
            "format": "products:1.0",
            "path": LIST_PATH.removeprefix("/releases/"),
            "products": list(self.products["products"]),
            "updated": UPDATED,
        }
        clouds = {"datatype": "image-ids", "format": "products:1.0", "path": "aws.sjson", "products": [PRODUCT]}
        self.index = {
            "format": "index:1.0",
            "updated": UPDATED,
            "index": {LIST: entry, "com.ubuntu.cloud:released:aws": clouds},
        }
        self.announce()

    @property
    def versions(self) -> Json:
        versions: Json = self.products["products"][PRODUCT]["versions"]
        return versions

    def announce(self, signer: Signer | None = None) -> None:
        """Publish index and list as they are now."""
        signer = signer or self.signer
        for path, document in ((INDEX_PATH, self.index), (LIST_PATH, self.products)):
            self.announce_text(path, json.dumps(document, indent=1), signer)

    def announce_text(self, path: str, text: str, signer: Signer | None = None) -> None:
        self.server.publish(path, (signer or self.signer).clearsign(text.encode()))

    def publish_image(self, serial: str) -> None:
        self.server.publish(f"{folder(serial)}/{FILE}", image(serial))

    def publish_checksums(self, serial: str, sha256: str, signer: Signer | None = None) -> None:
        listing = f"{'1' * 64} *other.img\n{sha256} *{FILE}\n".encode()
        self.server.publish(f"{folder(serial)}/SHA256SUMS", listing, content_type="text/plain")
        self.server.publish(f"{folder(serial)}/SHA256SUMS.gpg", (signer or self.signer).sign(listing))

    def withdraw(self, serial: str, *files: str) -> None:
        for file in files:
            del self.server.files[f"{folder(serial)}/{file}"]

    def definition(self, serial: str = OLD, *, name: str = "ubuntu-2204") -> str:
        """A definition that follows this mirror and pins a serial, written as people write one."""
        return DEFINITION.format(
            name=name,
            url=self.image_url(serial),
            sha256=digest(serial),
            keyring=self.signer.keyring,
            fingerprint=self.signer.fingerprint,
            index=self.url(INDEX_PATH),
            product=PRODUCT,
        )


def item(serial: str) -> Json:
    return {
        "ftype": "disk1.img",
        "path": f"server/releases/jammy/release-{serial}/{FILE}",
        "sha256": digest(serial),
        "md5": "0" * 32,
        "size": len(image(serial)),
    }


DEFINITION = """\
# The release image.
distribution = "{name}" # in file names
release = true

[base]
url    = "{url}" # dated
sha256 = '{sha256}'
keyring = "{keyring}"
fingerprints = [ "{fingerprint}", ] # one key

[base.streams]
index = "{index}"
product = "{product}"
item = "disk1.img"

[os]
id = "ubuntu"
version_id = "22.04"

[disk]
size_gib = 20

[packages]
install = [
  "curl", # a comment
]

[services]
"""
