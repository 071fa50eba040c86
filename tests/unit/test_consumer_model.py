"""The model of Toolsmith does what the real one did: a test for each row of the matrix in docs/consuming.md."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.host.repository import ROOT
from tests.support import consumer_model as model
from tests.support.consumer_model import Toolsmith
from tests.support.consuming import DIGEST, FILE, IMAGE, NAME, contents, fill, manifest

URL = f"https://github.com/o/r/releases/download/v2026.11.23/{FILE}"
REGISTRY = "oci://ghcr.io/o/r:v1"
FOLDER = f".toolsmith/cache/{NAME}/{DIGEST}"
EMPTY, CACHED, BESIDE = f"{FOLDER}/", f"{FOLDER}/{FILE}", f".toolsmith/{FILE}"
PASTED = f"{FOLDER}/{URL.replace('//', '/').removesuffix(FILE)}"
ANOTHER = "a" * 64
ZEROS = "0" * 64

MATRIX = re.compile(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)

# As docs/consuming.md says it; what hydrates has no error.
ERRORS = {
    "hydrates": None,
    "`imageNotListed`": model.ImageNotListedError,
    "`checksumMismatch`": model.ChecksumMismatchError,
    "source missing": model.SourceMissingError,
    "`CocoaError 4`": model.NoFolderError,
    "`oras` refuses": model.OrasError,
}


@dataclass(frozen=True)
class Row:
    """A state of manifest and cache, and what comes of it.

    `image` is what the manifest has, `files` what is in the workspace, `says` one of ERRORS. `adds` and `removes` are
    files, and empty folders, with a slash; `asks` what was fetched; `leaves` counts what stays in the folder for
    temporary files. `oras` is what a program would bring that took the reference.
    """

    image: Mapping[str, str]
    files: Mapping[str, bytes]
    says: str
    adds: Iterable[str] = ()
    removes: Iterable[str] = ()
    asks: tuple[str, ...] = ()
    leaves: int = 0
    oras: bytes | None = None


def by_url(files: Mapping[str, bytes], says: str, **came: object) -> Row:
    return Row({"qcow2": URL}, files, says, asks=(URL,), **came)  # type: ignore[arg-type]


def by_name(files: Mapping[str, bytes], says: str, **image: str) -> Row:
    return Row({"qcow2": FILE} | image, files, says, adds=[] if CACHED in files else [EMPTY])


ROWS: dict[str, list[Row]] = {
    "url-cold": [by_url({}, "`CocoaError 4`", adds=[EMPTY], leaves=1)],
    "url-ensured": [by_url({CACHED: IMAGE}, "`CocoaError 4`", leaves=1)],
    "url-folders": [by_url({PASTED: b""}, "`imageNotListed`", adds=[f"{PASTED}{FILE}"], removes=[PASTED])],
    "localized": [by_name({CACHED: IMAGE}, "hydrates")],
    "localized-corrupted": [Row({"qcow2": FILE}, {CACHED: b"x"}, "source missing", [EMPTY], [CACHED])],
    "localized-healed": [Row({"qcow2": FILE}, {CACHED: b"x", BESIDE: IMAGE}, "hydrates", [CACHED], [CACHED])],
    "localized-emptied": [
        by_name({}, "source missing"),
        Row(
            {"qcow2": FILE, "qcow2_sha256": ANOTHER},
            {CACHED: IMAGE},
            "source missing",
            [EMPTY.replace(DIGEST, ANOTHER)],
        ),
    ],
    "wrong-digest-beside": [Row({"qcow2": FILE}, {BESIDE: b"x"}, "`checksumMismatch`", [CACHED])],
    "upper-case-digest": [
        Row(
            {"qcow2": FILE, "qcow2_sha256": DIGEST.upper()},
            {BESIDE: IMAGE},
            "`checksumMismatch`",
            [CACHED.replace(DIGEST, DIGEST.upper())],
        )
    ],
    "path": [
        Row({"qcow2": "WORKSPACE/elsewhere.qcow2"}, {"elsewhere.qcow2": IMAGE}, "`CocoaError 4`", [EMPTY]),
        Row({"qcow2": f"images/{FILE}"}, {f".toolsmith/images/{FILE}": IMAGE}, "`CocoaError 4`", [EMPTY]),
    ],
    "file-cold": [by_name({}, "source missing", qcow2_url=URL)],
    "file-ensured": [by_name({CACHED: IMAGE}, "hydrates", qcow2_url=URL)],
    "oci": [
        Row({"qcow2": REGISTRY}, {}, "`oras` refuses", [EMPTY], asks=(f"oras pull {REGISTRY}",), leaves=1),
        Row({"qcow2": REGISTRY}, {}, "`CocoaError 4`", [EMPTY], asks=(f"oras pull {REGISTRY}",), leaves=2, oras=IMAGE),
    ],
    "unpublished": [
        Row(
            {"name": "unpublished", "qcow2": "unpublished.qcow2", "qcow2_sha256": ZEROS},
            {CACHED: IMAGE},
            "source missing",
            [f".toolsmith/cache/unpublished/{ZEROS}/"],
        )
    ],
}

BEHAVIOURS: dict[str, Callable[[Path], None]] = {}


def behaviour(name: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """A row that tells more than what a state comes to."""

    def add(test: Callable[[Path], None]) -> Callable[[Path], None]:
        BEHAVIOURS[name] = test
        return test

    return add


def toolsmith(workspace: Path, document: object, files: Mapping[str, bytes]) -> Toolsmith:
    """One with a network, at a workspace with these files and this manifest."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    fill(workspace, {**files, ".toolsmith/tools.json": data})
    temporary = workspace.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    return Toolsmith(workspace / ".toolsmith", temporary=temporary, web={URL: IMAGE})


def test_each_state_comes_to_what_it_came_to(subtests: pytest.Subtests, tmp_path: Path) -> None:
    for name, number, row in [(name, number, row) for name, rows in ROWS.items() for number, row in enumerate(rows)]:
        with subtests.test(row=name, number=number):
            workspace = tmp_path / f"{name}-{number}" / "workspace"
            image = {key: value.replace("WORKSPACE", str(workspace)) for key, value in row.image.items()}
            client = toolsmith(workspace, manifest(image.pop("qcow2"), **image), row.files)
            client.oras = row.oras
            before = contents(workspace)
            run = client.run()
            expected = ERRORS[row.says]
            assert type(run.error) is (expected or type(None))
            assert (run.backend, run.reason) == (("host", "vm_unavailable") if expected else ("vm", ""))
            after = contents(workspace)
            assert after.keys() - before.keys() | {one for one in row.adds if before.get(one)} == set(row.adds)
            assert before.keys() - after.keys() == set(row.removes) - set(row.adds)
            assert {one for one in before.keys() & after.keys() if before[one] != after[one]} <= set(row.adds)
            assert client.asked == list(row.asks)
            assert sum(1 for _ in client.temporary.rglob("*")) == row.leaves


@behaviour("unpublished-before")
def empty_values_make_it_delete_its_cache_and_nest_its_folder(folder: Path) -> None:
    for name, place in (("", ".toolsmith/cache"), (NAME, f".toolsmith/cache/{NAME}")):
        workspace = folder / (name or "none") / "workspace"
        client = toolsmith(workspace, manifest("", name=name, qcow2_sha256=""), {CACHED: IMAGE, f"{place}/mine": b"x"})
        assert isinstance(client.run().error, model.ImageNotListedError)
        assert not (workspace / CACHED).exists()
        assert not (workspace / place / "mine").exists()
        nested = workspace / "/".join([place] + [place.removeprefix(".toolsmith/")] * 20)
        assert (nested / "tools.json").exists()


@behaviour("host")
def whatever_is_wrong_the_host_executes_it(folder: Path) -> None:
    assert toolsmith(folder / "a", manifest(URL), {}).run().reason == "vm_unavailable"
    assert toolsmith(folder / "b", b"{}", {}).run() == model.Run(backend="host")
    assert Toolsmith(folder / "nowhere").run() == model.Run(backend="host")


@behaviour("default-manifest")
def it_reads_the_manifest_of_its_own_folder(folder: Path) -> None:
    fill(folder, {"tools.json": json.dumps(manifest(FILE)).encode(), CACHED: IMAGE})
    fill(folder, {".toolsmith/tools.json": json.dumps(manifest("another.qcow2")).encode()})
    assert Toolsmith(folder).hydrate() == folder / CACHED
    with pytest.raises(model.SourceMissingError):
        Toolsmith(folder / ".toolsmith").hydrate()


@behaviour("lenient")
def it_takes_what_others_refuse(_folder: Path) -> None:
    text = json.dumps(manifest(FILE))
    doubled = text.replace('"qcow2": ', '"qcow2": "first.qcow2", "qcow2": ')
    assert model.decode(doubled.encode()).image.qcow2 == "first.qcow2"
    for data in (b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), text.encode("utf-16-be")):
        assert model.decode(data) == model.decode(text.encode())
    commas = text.replace("}", ",\n}").replace("]", " ,]").replace('"swift"', '"a,} \\",]"')
    assert model.decode(commas.encode()).tools == {'a,} ",]': "5.10"}
    for noise in ("[,]", "{,}", "[1,,]", "", "null", "{}"):
        with pytest.raises(model.DecodeError):
            model.decode(text.replace('["build"]', noise).encode() if noise[:1] == "[" else noise.encode())


@behaviour("reads")
def an_image_is_read_three_times(folder: Path) -> None:
    client = toolsmith(folder / "workspace", manifest(FILE), {CACHED: IMAGE})
    client.run()
    assert client.hashed == [folder / "workspace" / CACHED] * 3


def launched(folder: Path, workspace: str = "workspace") -> Toolsmith:
    return toolsmith(folder / workspace, manifest(FILE), {CACHED: IMAGE})


@behaviour("qemu")
def qemu_is_the_systems_and_wants_its_accelerator(folder: Path) -> None:
    client = launched(folder)
    for platform, flags in (("linux", ("-enable-kvm",)), ("darwin", ("-accel", "hvf"))):
        client.platform = "linux" if platform == "linux" else "darwin"
        run = client.run()
        assert run.launched is not None
        assert run.launched.arguments[: 1 + len(flags)] == ("/usr/bin/qemu-system-x86_64", *flags)


@behaviour("comma")
def a_comma_in_the_path_is_not_escaped(folder: Path) -> None:
    run = launched(folder, "a,b").run()
    assert run.launched is not None
    assert any(f"path={folder}/a,b,mount_tag=work" in one for one in run.launched.arguments)


@behaviour("sigterm")
def qemu_cannot_be_ended_politely_on_linux(folder: Path) -> None:
    client = launched(folder)
    assert [client.launch(folder, folder).blocks_sigterm for client.platform in ("linux", "darwin")] == [True, False]


@behaviour("console")
def the_console_is_never_read(folder: Path) -> None:
    assert not launched(folder).launch(folder, folder).console_is_read


@behaviour("stub")
def no_command_is_run_and_a_dead_qemu_is_a_boot(folder: Path) -> None:
    started = launched(folder).launch(folder, folder)
    assert (started.stage, started.run_command()) == ("vm_boot", ["started", "finished(0)"])


@behaviour("owner")
def files_of_the_workspace_are_handed_on_as_they_are(folder: Path) -> None:
    arguments = launched(folder).launch(folder, folder).arguments
    assert any("mount_tag=work,security_model=none,readonly" in one for one in arguments)


@behaviour("script")
def its_script_takes_the_manifest_from_the_release(folder: Path) -> None:
    address = (
        "https://github.com/Fountain-Coach/fountainkit-toolsmith-image/releases/download/v2026.11.23/"
        "manifest-snippet.json"
    )
    fill(folder, {".toolsmith/tools.json": b"mine"})
    model.fetch_manifest(folder, "v2026.11.23", {address: b"anything"})
    assert contents(folder) == {".toolsmith/tools.json": b"anything"}
    with pytest.raises(model.DownloadError):
        model.fetch_manifest(folder, "v2026.11.24", {address: b"anything"})


@behaviour("token")
def the_registrys_token_is_an_argument(folder: Path) -> None:
    client = toolsmith(folder / "workspace", manifest(REGISTRY), {})
    client.environ = {"GHCR_TOKEN": "secret", "GITHUB_ACTOR": "me"}
    client.run()
    assert client.asked[0] == "oras login ghcr.io -u me -p secret"


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_behaviour_is_the_real_ones(name: str, tmp_path: Path) -> None:
    BEHAVIOURS[name](tmp_path)


def test_the_documented_matrix_has_these_rows_and_says_what_comes_of_each() -> None:
    text = (ROOT / "docs" / "consuming.md").read_text(encoding="utf-8")
    documented = {name: (does, we_do) for name, _state, does, we_do in MATRIX.findall(text)}
    assert documented.keys() == ROWS.keys() | BEHAVIOURS.keys()
    assert all(we_do.strip() for _, we_do in documented.values())
    for name, rows in ROWS.items():
        does = documented[name][0]
        assert [row.says for row in rows if row.says not in does] == []
        assert ("downloads" in does) == any(URL in row.asks for row in rows)
        assert ("deletes" in does) == any(name == CACHED for row in rows for name in row.removes)
        assert ("`/tmp`" in does) == any(row.leaves for row in rows) or name == "url-ensured"
