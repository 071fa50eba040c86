import os
import shutil
from pathlib import Path

import pytest

from ci.host import qcow2
from ci.image.disk import layers
from ci.image.disk.layers import LayerCache, layer_key
from ci.image.disk.layout import Partition

LAYOUT = {"/": Partition(number=1, start=2048, size=8192, kind="x", holds="ext4", uuid="4b3a")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LayerCache:
    def copy(source: Path, target: Path, *, source_format: str) -> None:  # no qemu-img here
        assert source_format == "raw"
        shutil.copyfile(source, target)

    monkeypatch.setattr(qcow2, "convert_compressed", copy)
    return LayerCache(tmp_path / "layers")


def store(cache: LayerCache, tmp_path: Path, key: str, content: str = "content") -> Path:
    path = tmp_path / "disk.raw"
    path.write_text(content)
    cache.store(key, path, "raw", LAYOUT)
    return path


def test_what_was_stored_is_there_for_its_key_only(cache: LayerCache, tmp_path: Path) -> None:
    store(cache, tmp_path, "one")
    with cache.use("one") as layer:
        assert layer is not None
        assert (layer.path.read_text(), layer.layout) == ("content", LAYOUT)
    with cache.use("two") as layer:
        assert layer is None


def test_later_writes_to_the_disk_do_not_reach_the_layer(cache: LayerCache, tmp_path: Path) -> None:
    store(cache, tmp_path, "one").write_text("changed")
    with cache.use("one") as layer:
        assert layer is not None
        assert layer.path.read_text() == "content"


@pytest.mark.parametrize("ending", ["qcow2", "json"])
@pytest.mark.parametrize(
    "content", ["c0ntent", "", "{}", "[]", '{"sha256": 1, "layout": 2}', '{"sha256": 1, "layout": {"/": {}}}']
)
def test_a_damaged_layer_is_forgotten(cache: LayerCache, tmp_path: Path, ending: str, content: str) -> None:
    store(cache, tmp_path, "one")
    damaged = tmp_path / "layers" / f"one.{ending}"
    damaged.chmod(0o644)
    damaged.write_text(content)
    with cache.use("one") as layer:
        assert layer is None
    assert not (tmp_path / "layers" / "one.qcow2").exists()


def test_a_layer_without_its_note_is_forgotten(cache: LayerCache, tmp_path: Path) -> None:
    store(cache, tmp_path, "one")
    (tmp_path / "layers" / "one.json").unlink()
    with cache.use("one") as layer:
        assert layer is None


def test_those_used_longest_ago_go_but_none_in_use(cache: LayerCache, tmp_path: Path) -> None:
    names = [f"layer{number}" for number in range(layers.KEEP)]
    for age, name in enumerate(names):
        store(cache, tmp_path, name)
        os.utime(tmp_path / "layers" / f"{name}.qcow2", (age, age))
    with cache.use(names[0]) as held:
        os.utime(tmp_path / "layers" / f"{names[0]}.qcow2", (0, 0))
        store(cache, tmp_path, "new")
        assert held is not None
        assert held.path.exists()
    store(cache, tmp_path, "newer")
    left = {path.stem for path in (tmp_path / "layers").glob("*.qcow2")}
    assert left == {*names[2:], "new", "newer"}
    assert {path.stem for path in (tmp_path / "layers").glob("*.json")} == left


def test_every_input_and_every_file_of_code_is_part_of_the_key(tmp_path: Path) -> None:
    code = [tmp_path / "one.py", tmp_path / "two.sh"]
    for path in code:
        path.write_text("code")
    inputs: dict[str, object] = {"base": "0" * 64, "packages": ["curl"]}
    keys = {layer_key(inputs, code), layer_key(inputs | {"base": "1" * 64}, code)}
    keys.add(layer_key(inputs | {"packages": ["curl", "git"]}, code))
    code[1].write_text("other code")
    keys.add(layer_key(inputs, code))
    assert len(keys) == 4


def test_the_order_of_the_inputs_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("code")
    assert layer_key({"a": 1, "b": 2}, [path]) == layer_key({"b": 2, "a": 1}, [path])
