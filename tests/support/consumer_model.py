"""Toolsmith as it is, as a model: its decoder, its hydration, its verification, its launch, and all their faults.

Each behaviour is known from the matrix in docs/consuming.md, which is what the client did when it was compiled and run
(Toolsmith at bac4357, Swift 6.0.3, Linux); what no row shows is read from its sources at that commit, and says so by
their names. Nothing here knows this repository's own code. The network, `oras` and the folder for temporary files are
given, so that a test sees what was asked for and what was left.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit
from uuid import uuid4

IMAGE_KEYS = ("name", "tarball", "sha256", "qcow2", "qcow2_sha256")
MANIFEST = "tools.json"
NESTED = 50  # folders: how deep it copied one into itself (row `unpublished-before`)
REPOSITORY = "https://github.com/Fountain-Coach/fountainkit-toolsmith-image"
QEMU = "/usr/bin/qemu-system-x86_64"  # row `qemu`

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\[{,\s])(\s*),(?=\s*[]}])', re.DOTALL)


class DecodeError(Exception):
    """It has no manifest then: `run` goes to the host without a word (Toolsmith.swift)."""


class HydrationError(Exception):
    """There is no image. `run` then executes on the host, and ends well (row `url-cold`)."""


class ImageNotListedError(HydrationError):
    """`imageNotListed`: the file's name is not what the manifest has in `qcow2`; so it always is with a URL."""


class ChecksumMismatchError(HydrationError):
    """`checksumMismatch`: the digest is not, to the letter, the manifest's."""


class SourceMissingError(HydrationError):
    """`source missing`: the image is neither in the cache nor beside the manifest."""


class NoFolderError(HydrationError):
    """`CocoaError 4`: the folders that a reference was pasted into are not there."""


class DownloadError(HydrationError):
    """The address could not be reached."""


class OrasError(HydrationError):
    """`oras` refused."""


@dataclass(frozen=True)
class Image:
    name: str
    tarball: str
    sha256: str
    qcow2: str
    qcow2_sha256: str


@dataclass(frozen=True)
class Decoded:
    image: Image
    tools: dict[str, str]
    operations: list[str]


def decode(data: bytes) -> Decoded:
    """Every key must be there and of its type; unknown ones are ignored (ToolManifest.swift).

    Of doubled keys the first counts; a BOM, UTF-16 and a comma at the end are taken (row `lenient`).
    """
    try:
        text = data.decode(json.detect_encoding(data))
        document = json.loads(
            _STRING_OR_COMMA.sub(lambda found: found[0] if found[0].startswith('"') else found[1], text),
            object_pairs_hook=lambda pairs: dict(reversed(pairs)),
            parse_int=str,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError) as error:
        raise DecodeError(str(error)) from error
    top = _object(document, "manifest")
    image = _object(_value(top, "image"), "image")
    tools = _object(_value(top, "tools"), "tools")
    operations = _value(top, "operations")
    if not isinstance(operations, list):
        raise DecodeError("operations is not an array")
    return Decoded(
        image=Image(**{key: _string(_value(image, key), key) for key in IMAGE_KEYS}),
        tools={key: _string(value, key) for key, value in tools.items()},
        operations=[_string(value, "operations") for value in operations],
    )


@dataclass(frozen=True)
class Launched:
    """A virtual machine as it is started: the rows `qemu`, `comma`, `sigterm`, `console`, `stub`."""

    arguments: tuple[str, ...]
    blocks_sigterm: bool
    console_is_read: bool = False
    stage: str = "vm_boot"  # whether QEMU lives or not

    def run_command(self) -> list[str]:
        """What a command in the guest comes to, without one being run."""
        return ["started", "finished(0)"]


@dataclass(frozen=True)
class Run:
    """Where `run` executed what it was given, and why there; it ends well wherever that is."""

    backend: Literal["host", "vm"]
    reason: str = ""
    error: HydrationError | None = None
    launched: Launched | None = None


@dataclass
class Toolsmith:
    """A Toolsmith whose image directory is `folder`, by default the current one (row `default-manifest`).

    `web` is the network, by address; `oras` is what that program would bring, None for the real one. `asked` has each
    address and each call of oras in their order, `hashed` the files that were read whole.
    """

    folder: Path
    temporary: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    web: Mapping[str, bytes] = field(default_factory=dict)
    oras: bytes | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    platform: Literal["linux", "darwin"] = "linux"
    asked: list[str] = field(default_factory=list)
    hashed: list[Path] = field(default_factory=list)

    @property
    def manifest(self) -> Path:
        return self.folder / MANIFEST

    @property
    def workspace(self) -> Path:
        """The manifest's folder, or the one around it if that is `.toolsmith` (ImageHydrator.swift)."""
        return self.folder.parent if self.folder.name == ".toolsmith" else self.folder

    def cache_folder(self, image: Image) -> Path:
        return Path(f"{self.workspace}/.toolsmith/cache/{image.name}/{image.qcow2_sha256}")

    def cached(self, image: Image) -> Path:
        """As text: a URL in `qcow2` is pasted into the path as it is."""
        return Path(f"{self.cache_folder(image)}/{image.qcow2}")

    def hydrate(self) -> Path:
        """The image that a launch would boot; raises HydrationError, or DecodeError without a manifest."""
        image = decode(self.manifest.read_bytes()).image
        try:
            self.cache_folder(image).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NoFolderError(str(error)) from error
        path = self.cached(image)
        if path.exists():
            try:
                self.verify(path, image)
            except HydrationError:
                _remove(path)  # whatever it is: the rows `localized-corrupted` and `unpublished-before`
            else:
                return path
        self._fetch(image, path)
        self.verify(path, image)  # and leaves a wrong one where it is (row `wrong-digest-beside`)
        return path

    def verify(self, path: Path, image: Image) -> None:
        expected = {image.tarball: image.sha256} | {image.qcow2: image.qcow2_sha256}
        if path.name not in expected:
            raise ImageNotListedError(f"{path.name} is not {image.qcow2}")
        self.hashed.append(path)
        if path.is_dir() or hashlib.sha256(path.read_bytes()).hexdigest() != expected[path.name]:
            raise ChecksumMismatchError(str(path))

    def run(self, workspace: Path | None = None) -> Run:
        """Execute something, in the virtual machine if there can be one, else on the host."""
        try:
            image = decode(self.manifest.read_bytes()).image
        except (OSError, DecodeError):
            return Run(backend="host")
        try:
            if self.cached(image).exists():
                self.verify(self.cached(image), image)
        except HydrationError:
            pass  # it only tells whether a download is to be logged (Toolsmith.swift)
        try:
            path = self.hydrate()
        except HydrationError as error:
            return Run(backend="host", reason="vm_unavailable", error=error)
        self.verify(path, image)
        return Run(backend="vm", launched=self.launch(path, workspace or self.workspace))

    def launch(self, path: Path, workspace: Path) -> Launched:
        accelerated = ("-accel", "hvf") if self.platform == "darwin" else ("-enable-kvm",)
        arguments = (
            *(QEMU, *accelerated, "-drive", f"file={path},if=virtio,snapshot=on"),
            *("-virtfs", f"local,path={workspace},mount_tag=work,security_model=none,readonly"),
            *("-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:40000-:3023"),
            *("-device", "virtio-net-pci,netdev=net0", "-nographic"),
        )
        return Launched(arguments=arguments, blocks_sigterm=self.platform == "linux")

    def _fetch(self, image: Image, path: Path) -> None:
        scheme = _SCHEME.match(image.qcow2)
        if scheme is None:
            beside = Path(image.qcow2 if image.qcow2.startswith("/") else f"{self.folder}/{image.qcow2}")
            self._copy(beside, path)
        elif scheme[1].lower() == "file":
            self._copy(Path(unquote(urlsplit(image.qcow2).path)), path)
        elif scheme[1].lower() in {"oci", "ghcr"}:
            self._pull(image.qcow2, path)
        else:
            self._download(image.qcow2, path)

    def _copy(self, source: Path, path: Path) -> None:
        if not source.exists():
            raise SourceMissingError(str(source))
        _into_place(path, lambda: _copy_item(source, path))

    def _download(self, url: str, path: Path) -> None:
        """All of it comes first, and stays in the folder for temporary files where it cannot be moved on."""
        self.asked.append(url)
        if url not in self.web:
            raise DownloadError(url)
        came = self.temporary / f"CFNetworkDownload_{uuid4().hex[:6]}.tmp"
        came.write_bytes(self.web[url])
        _into_place(path, lambda: shutil.move(came, path))

    def _pull(self, reference: str, path: Path) -> None:
        """The scheme is left in the reference, which the real oras refuses (row `oci`)."""
        folder = self.temporary / str(uuid4())
        folder.mkdir()
        user = self.environ.get("GHCR_USERNAME", self.environ.get("GITHUB_ACTOR"))
        if user and (token := self.environ.get("GHCR_TOKEN")):
            self.asked.append(f"oras login ghcr.io -u {user} -p {token}")
        self.asked.append(f"oras pull {reference}")
        if self.oras is None:
            raise OrasError(reference)
        (folder / "image.qcow2").write_bytes(self.oras)
        _into_place(path, lambda: shutil.move(folder / "image.qcow2", path))
        shutil.rmtree(folder)


def hydrate(workspace: Path) -> Path:
    """For a workspace whose manifest is in `.toolsmith`, without a network."""
    return Toolsmith(workspace / ".toolsmith").hydrate()


def fetch_manifest(workspace: Path, tag: str, web: Mapping[str, bytes]) -> None:
    """What its scripts/fetch-toolsmith-manifest.sh does."""
    address = f"{REPOSITORY}/releases/download/{tag}/manifest-snippet.json"
    (workspace / ".toolsmith").mkdir(exist_ok=True)
    if address not in web:
        raise DownloadError(address)
    (workspace / ".toolsmith" / MANIFEST).write_bytes(web[address])


def _into_place(path: Path, put: Callable[[], object]) -> None:
    if path.exists():
        _remove(path)
    if not path.parent.is_dir():
        raise NoFolderError(str(path))
    put()


def _remove(path: Path) -> None:
    """What is there and all in it; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _copy_item(source: Path, target: Path, depth: int = 0) -> None:
    """Links as links. A folder is listed once its copy was begun, so one that is copied into itself has it inside."""
    if source.is_symlink() or not source.is_dir():
        shutil.copy2(source, target, follow_symlinks=False)
        return
    target.mkdir()
    for entry in sorted(source.iterdir(), key=lambda entry: (entry.is_dir(), entry.name)):
        if depth < NESTED or not entry.is_dir():
            _copy_item(entry, target / entry.name, depth + 1)


def _no_number(text: str) -> float:
    raise DecodeError(f"{text} is no number")


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError(f"{what} is not an object")
    return value


def _value(holder: dict[str, Any], key: str) -> object:
    if key not in holder:
        raise DecodeError(f"{key} is missing")
    value: object = holder[key]
    return value


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"{what} is not a string")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DecodeError(f"{what} is not text")
    return value
