import os
from pathlib import Path

import pytest

from ci.image import layers, qcow2
from ci.image.layers import LayerCache, layer_key

BASE = Path("/cache/base.qcow2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LayerCache:
    monkeypatch.setattr(qcow2, "backing_file", lambda _: BASE)  # qemu-img is for the integration tests
    return LayerCache(tmp_path / "layers")


def disk(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "disk.qcow2"
    path.write_text(content)
    return path


def test_what_was_stored_is_there_for_its_key_only(cache: LayerCache, tmp_path: Path) -> None:
    cache.store("one", disk(tmp_path, "content"))
    with cache.use("one", BASE) as layer:
        assert layer is not None
        assert layer.read_text() == "content"
    with cache.use("two", BASE) as layer:
        assert layer is None


def test_later_writes_to_the_disk_do_not_reach_the_layer(cache: LayerCache, tmp_path: Path) -> None:
    path = disk(tmp_path, "content")
    cache.store("one", path)
    path.write_text("changed")
    with cache.use("one", BASE) as layer:
        assert layer is not None
        assert layer.read_text() == "content"


@pytest.mark.parametrize("ending", ["qcow2", "sha256"])
def test_a_damaged_layer_is_forgotten(cache: LayerCache, tmp_path: Path, ending: str) -> None:
    cache.store("one", disk(tmp_path, "content"))
    damaged = tmp_path / "layers" / f"one.{ending}"
    damaged.chmod(0o644)
    damaged.write_text("c0ntent")
    with cache.use("one", BASE) as layer:
        assert layer is None
    assert not (tmp_path / "layers" / "one.qcow2").exists()


def test_a_layer_without_its_digest_is_forgotten(cache: LayerCache, tmp_path: Path) -> None:
    cache.store("one", disk(tmp_path, "content"))
    (tmp_path / "layers" / "one.sha256").unlink()
    with cache.use("one", BASE) as layer:
        assert layer is None


def test_a_layer_on_another_file_is_forgotten(cache: LayerCache, tmp_path: Path) -> None:
    cache.store("one", disk(tmp_path, "content"))
    with cache.use("one", Path("/moved/base.qcow2")) as layer:
        assert layer is None


def test_those_used_longest_ago_go_but_none_in_use(cache: LayerCache, tmp_path: Path) -> None:
    names = [f"layer{number}" for number in range(layers.KEEP)]
    for age, name in enumerate(names):
        cache.store(name, disk(tmp_path, name))
        os.utime(tmp_path / "layers" / f"{name}.qcow2", (age, age))
    with cache.use(names[0], BASE) as held:
        os.utime(tmp_path / "layers" / f"{names[0]}.qcow2", (0, 0))
        cache.store("new", disk(tmp_path, "new"))
        assert held is not None
        assert held.exists()
    cache.store("newer", disk(tmp_path, "newer"))
    left = {path.stem for path in (tmp_path / "layers").glob("*.qcow2")}
    assert left == {*names[2:], "new", "newer"}
    assert {path.stem for path in (tmp_path / "layers").glob("*.sha256")} == left


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
