import copy
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.host.errors import InputError
from ci.image.definition import Definition, definition_files, input_digests, load_definition

VALID = """
distribution = "ubuntu-2204"
release = true
[base]
url = "https://example.org/base.img"
[os]
id = "ubuntu"
version_id = "22.04"
[disk]
size_gib = 20
[packages]
install = ["curl"]
[services]
"""
TABLES: dict[str, Any] = {
    "distribution": "ubuntu-2204",
    "release": True,
    "base": {"url": "https://example.org/base.img"},
    "os": {"id": "ubuntu", "version_id": "22.04"},
    "disk": {"size_gib": 20},
    "packages": {"install": ["curl"]},
    "services": {},
}
BOOTSTRAP = '[base.bootstrap]\nsuite = "bookworm"\nkeyring = "/k.gpg"\npackages = ["sudo"]'


def load(folder: Path, text: str, name: str = "mine") -> Definition:
    (folder / f"{name}.toml").write_text(text)
    return load_definition(name, folder)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, text)
    assert str(folder / "mine.toml") in caught.value.message
    return caught.value.details or caught.value.message


def test_a_definition_without_optional_keys_has_the_documented_defaults(tmp_path: Path) -> None:
    definition = load(tmp_path, VALID)
    assert not definition.check
    assert definition.packages.upgrade
    assert definition.packages.purge == ()
    assert (definition.services.mask, definition.services.disable, definition.services.enable) == ((), (), ())
    assert (definition.base.sha256, definition.base.keyring, definition.base.bootstrap) == (None, None, None)


def test_the_stem_names_the_product_the_distribution_and_the_version(tmp_path: Path) -> None:
    stem = load(tmp_path, VALID).stem("v2026.11.23.1")
    assert stem == "fountainkit-toolsmith-ubuntu-2204-v2026.11.23.1"


class TestWhatSeveralHaveInCommon:
    COMMON = """
[packages]
upgrade = false
install = ["curl", "git"]
purge = ["snapd"]
[services]
mask = ["cron.service"]
"""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "common").mkdir()
        (tmp_path / "common/toolsmith.toml").write_text(self.COMMON)
        return tmp_path

    @staticmethod
    def extending(text: str, name: str = "toolsmith") -> str:
        return f'extends = "{name}"\n{text}'

    def test_lists_are_added_to_and_anything_else_is_replaced(self, folder: Path) -> None:
        text = VALID.replace('install = ["curl"]', 'upgrade = true\ninstall = ["less"]')
        definition = load(folder, self.extending(text))
        assert definition.packages.install == ("curl", "git", "less")
        assert (definition.packages.upgrade, definition.packages.purge) == (True, ("snapd",))
        assert definition.services.mask == ("cron.service",)

    def test_tables_that_are_in_common_need_not_be_in_the_definition(self, folder: Path) -> None:
        text = VALID.partition("[packages]")[0]
        assert load(folder, self.extending(text)).packages.install == ("curl", "git")

    def test_what_is_in_common_is_no_image(self, folder: Path) -> None:
        with pytest.raises(InputError, match="there is no image definition 'toolsmith'"):
            load_definition("toolsmith", folder)

    def test_an_unknown_name_is_answered_with_the_nearest(self, folder: Path) -> None:
        message = complaint(folder, self.extending(VALID, "toolsmth"))
        assert "extends 'toolsmth'" in message
        assert "did you mean `toolsmith`?" in message

    @pytest.mark.parametrize("value", ["3", "true", '["toolsmith"]', '"../common/toolsmith"', '""'])
    def test_only_a_name_is_taken(self, folder: Path, value: str) -> None:
        assert "which is not in" in complaint(folder, f"extends = {value}\n{VALID}")

    def test_an_error_in_common_names_both_files(self, folder: Path) -> None:
        path = folder / "common/toolsmith.toml"
        path.write_text(self.COMMON.replace("purge", "purg"))
        with pytest.raises(InputError, match=r"mine\.toml, which extends .*toolsmith\.toml, is not") as caught:
            load(folder, self.extending(VALID))
        assert "unknown key `packages.purg`; did you mean `purge`?" in caught.value.details

    @pytest.mark.parametrize(("key", "package"), [("install", "snapd"), ("purge", "git")])
    def test_what_is_in_common_cannot_be_contradicted(self, folder: Path, key: str, package: str) -> None:
        text = f"{VALID.partition('[packages]')[0]}[packages]\n{key} = ['{package}']\n"
        message = complaint(folder, self.extending(text))
        assert f"`packages`: Value error, `install` and `purge` both name {package}" in message

    def test_what_is_in_common_may_extend_further(self, folder: Path) -> None:
        between = folder / "common/debian.toml"
        between.write_text(self.extending('[packages]\ninstall = ["less"]\n'))
        definition = load(folder, self.extending(VALID.replace('["curl"]', '["zstd"]'), "debian"))
        assert definition.packages.install == ("curl", "git", "less", "zstd")
        assert definition_files("mine", folder) == [folder / "mine.toml", between, folder / "common/toolsmith.toml"]

    def test_what_extends_itself_is_refused(self, folder: Path) -> None:
        (folder / "common/debian.toml").write_text('extends = "toolsmith"')
        (folder / "common/toolsmith.toml").write_text('extends = "debian"')
        assert "extends 'toolsmith', which extends itself" in complaint(folder, self.extending(VALID))


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("release = true", "release = true\nrelese = true", "unknown key `relese`; did you mean `release`?"),
        ("install =", "instal =", "unknown key `packages.instal`; did you mean `install`?"),
        ("size_gib = 20", "size_gb = 20", "unknown key `disk.size_gb`; did you mean `size_gib`?"),
        ("[services]", "[services]\nmasks = []", "unknown key `services.masks`; did you mean `mask`?"),
        ("[services]", "[service]", "unknown key `service`; did you mean `services`?"),
        ("[services]", "[services]\nqqqq = 1", "unknown key `services.qqqq`"),
        (
            'url = "https://example.org/base.img"',
            f'{BOOTSTRAP}\nsuit = "x"',
            "unknown key `base.bootstrap.suit`; did you mean `suite`?",
        ),
    ],
)
def test_an_unknown_key_is_named_in_full_with_the_nearest_known_one(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    assert message in complaint(tmp_path, VALID.replace(right, wrong)).splitlines()


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = VALID.replace("install =", "instal =").replace("release = true\n", "").replace("= 20", "= 1")
    lines = complaint(tmp_path, text).splitlines()
    assert "the key `release` is missing" in lines
    assert "the key `packages.install` is missing" in lines
    assert any(line.startswith("`disk.size_gib`:") for line in lines)
    assert any(line.startswith("unknown key `packages.instal`") for line in lines)


def without(path: tuple[str, ...]) -> dict[str, Any]:
    tables = copy.deepcopy(TABLES)
    table = tables
    for part in path[:-1]:
        table = table[part]
    del table[path[-1]]
    return tables


def to_toml(tables: dict[str, Any]) -> str:
    def value(item: object) -> str:
        return str(item).lower() if isinstance(item, bool) else repr(item)

    plain = [f"{key} = {value(item)}" for key, item in tables.items() if not isinstance(item, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            plain += [f"[{name}]", *(f"{key} = {value(item)}" for key, item in table.items())]
    return "\n".join(plain)


@pytest.mark.parametrize(
    "path",
    [
        ("distribution",), ("release",), ("base",), ("os",), ("disk",), ("packages",), ("services",),
        ("os", "id"), ("os", "version_id"), ("disk", "size_gib"), ("packages", "install"),
    ],
    ids=".".join,
)  # fmt: skip
def test_a_missing_key_is_named(tmp_path: Path, path: tuple[str, ...]) -> None:
    load(tmp_path, to_toml(TABLES))  # complete as it stands
    assert complaint(tmp_path, to_toml(without(path))) == f"the key `{'.'.join(path)}` is missing"


@pytest.mark.parametrize("base", ["", f'url = "https://example.org/base.img"\n{BOOTSTRAP}'], ids=["none", "both"])
def test_a_base_has_a_url_or_a_bootstrap_and_never_both_or_none(tmp_path: Path, base: str) -> None:
    text = VALID.replace('url = "https://example.org/base.img"', base)
    assert "give either `url` or a `bootstrap` table" in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("base.sha256", f'sha256 = "{"A" * 64}"'),
        ("base.sha256", f'sha256 = "{"a" * 63}"'),
        ("base.sha256", f'sha256 = "sha256:{"a" * 64}"'),
        ("base.url", 'url = "base.img"'),
        ("base.fingerprints.0", 'fingerprints = ["1A5D6C4C7DB87C81"]'),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(tmp_path: Path, key: str, line: str) -> None:
    text = VALID.replace("[base]", f"[base]\n{line}")
    if line.startswith("url"):
        text = text.replace('url = "https://example.org/base.img"\n', "")
    assert complaint(tmp_path, text).startswith(f"`{key}`: ")


@pytest.mark.parametrize(
    ("right", "wrong", "key"),
    [
        ('["curl"]', '["curl; rm -rf /"]', "packages.install.0"),
        ('["curl"]', '["-oDebug"]', "packages.install.0"),
        ('["curl"]', '["curl\\nwget"]', "packages.install.0"),
        ("[services]", '[services]\nmask = ["apt-daily"]', "services.mask.0"),
        ("[services]", '[services]\nenable = ["a b.service"]', "services.enable.0"),
        ("[services]", '[services]\ndisable = ["cron"]', "services.disable.0"),
        ("[services]", '[files]\nplain = ["su; rm"]\n[services]', "files.plain.0"),
        ('"ubuntu-2204"', '"../ubuntu"', "distribution"),
        ('"ubuntu-2204"', '"Ubuntu 22.04"', "distribution"),
        ("size_gib = 20", "size_gib = 3", "disk.size_gib"),
        ("size_gib = 20", "size_gib = 20.5", "disk.size_gib"),
        ("size_gib = 20", "size_gib = 4096", "disk.size_gib"),
    ],
)
def test_a_name_or_size_that_could_do_harm_is_refused(tmp_path: Path, right: str, wrong: str, key: str) -> None:
    assert f"`{key}`: " in complaint(tmp_path, VALID.replace(right, wrong))


def test_what_is_installed_and_purged_is_refused_by_its_names(tmp_path: Path) -> None:
    text = VALID.replace('["curl"]', '["vim", "curl", "git"]\npurge = ["git", "snapd", "curl"]')
    (line,) = complaint(tmp_path, text).splitlines()
    assert line.endswith("`install` and `purge` both name curl, git")


STREAMS = '[base.streams]\nindex = "https://example.org/streams/v1/index.sjson"\nproduct = "a:b"\nitem = "disk1.img"\n'
VOUCHED = f'sha256 = "{"a" * 64}"\nkeyring = "k.gpg"\nfingerprints = ["{"A" * 40}"]\n'


def following(vouched: str = VOUCHED, streams: str = STREAMS) -> str:
    return VALID.replace("[os]", f"{vouched}{streams}[os]")


def test_a_base_may_follow_a_stream(tmp_path: Path) -> None:
    streams = load(tmp_path, following()).base.streams
    assert streams is not None
    assert (streams.product, streams.item) == ("a:b", "disk1.img")


@pytest.mark.parametrize("line", VOUCHED.splitlines(keepends=True))
def test_a_base_that_follows_needs_all_that_vouches_for_it(tmp_path: Path, line: str) -> None:
    assert "`streams` needs `url`, `sha256`, `keyring`" in complaint(tmp_path, following(VOUCHED.replace(line, "")))


@pytest.mark.parametrize(
    ("right", "wrong", "key"),
    [
        ("index.sjson", "index.json", "base.streams.index"),
        ('"https://example.org/', '"', "base.streams.index"),
        ('"a:b"', '"a b"', "base.streams.product"),
        ('"disk1.img"', '"../disk1.img"', "base.streams.item"),
    ],
)
def test_a_stream_that_is_not_signed_or_not_named_is_refused(tmp_path: Path, right: str, wrong: str, key: str) -> None:
    assert f"`{key}`: " in complaint(tmp_path, following(streams=STREAMS.replace(right, wrong)))


def test_broken_toml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "line 3" in complaint(tmp_path, VALID.replace("release = true", "release = "))


@pytest.mark.parametrize(("asked", "nearest"), [("jamy", "jammy"), ("bookwurm", "bookworm"), ("Jammy", "jammy")])
def test_an_unknown_image_names_the_nearest_and_all_known_ones(tmp_path: Path, asked: str, nearest: str) -> None:
    for name in ("jammy", "bookworm"):
        (tmp_path / f"{name}.toml").write_text(VALID)
    with pytest.raises(InputError) as caught:
        load_definition(asked, tmp_path)
    assert caught.value.message == f"there is no image definition '{asked}'; did you mean `{nearest}`?"
    assert caught.value.hint == "Known are: bookworm, jammy."


@pytest.mark.parametrize("name", ["../mine", "mine.toml", "", "/etc/passwd"])
def test_a_name_is_not_a_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "mine.toml").write_text(VALID)
    with pytest.raises(InputError, match="there is no image definition"):
        load_definition(name, tmp_path / "images")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "one"
    (root / "guest" / "etc").mkdir(parents=True)
    (root / "image.toml").write_text("a")
    (root / "guest" / "etc" / "hosts").write_text("b")
    (root / "guest" / "run").write_text("c")
    (root / "other").write_text("d")
    return root


def digest(root: Path) -> str:
    return input_digests(root, root / "image.toml", root / "guest")[0]


def test_two_checkouts_agree_whatever_their_place_and_times(checkout: Path, tmp_path: Path) -> None:
    before = digest(checkout)
    copy_ = tmp_path / "else" / "where"
    shutil.copytree(checkout, copy_)
    for path in copy_.rglob("*"):
        os.utime(path, (1, 1))
    assert digest(copy_) == before


def test_a_file_that_is_no_input_does_not_matter(checkout: Path) -> None:
    before = digest(checkout)
    (checkout / "other").write_text("changed")
    assert digest(checkout) == before


def edit(root: Path) -> None:
    (root / "guest" / "etc" / "hosts").write_text("B")


def edit_single_file(root: Path) -> None:
    (root / "image.toml").write_text("A")


def make_executable(root: Path) -> None:
    (root / "guest" / "run").chmod(0o755)


def rename(root: Path) -> None:
    (root / "guest" / "run").rename(root / "guest" / "walk")


def add_empty(root: Path) -> None:
    (root / "guest" / "new").touch()


def remove(root: Path) -> None:
    (root / "guest" / "run").unlink()


def move_bytes_between_files(root: Path) -> None:
    (root / "guest" / "etc" / "hosts").write_text("bc")
    (root / "guest" / "run").write_text("")


@pytest.mark.parametrize(
    "change", [edit, edit_single_file, make_executable, rename, add_empty, remove, move_bytes_between_files]
)
def test_what_reaches_the_guest_changes_the_digest(checkout: Path, change: Callable[[Path], None]) -> None:
    before = digest(checkout)
    change(checkout)
    assert digest(checkout) != before


def test_each_file_has_a_digest_of_its_own_by_its_place_in_the_checkout(checkout: Path) -> None:
    _, found = input_digests(checkout, checkout / "image.toml", checkout / "guest")
    assert set(found) == {"image.toml", "guest/etc/hosts", "guest/run"}
    assert found["guest/run"] == hashlib.sha256((checkout / "guest" / "run").read_bytes()).hexdigest()
