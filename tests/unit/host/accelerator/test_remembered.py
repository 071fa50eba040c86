import json
from pathlib import Path

import pytest

from ci.host.accelerator import remembered
from ci.host.accelerator.kernel import HostKernel
from ci.host.accelerator.kvm_device import KvmFault
from ci.host.accelerator.remembered import Answer, find, keep, question
from ci.host.qemu import QEMU

BROKEN = KvmFault(what="it hangs", fix="use another machine")
ARGS = ["-accel", "kvm", "-cpu", "host"]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the answer is kept."""
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kvm.json"


@pytest.mark.parametrize("fault", [None, BROKEN])
def test_an_answer_is_found_again_for_its_question_only(fault: KvmFault | None) -> None:
    assert find("this") is None
    keep("this", fault)
    assert find("this") == Answer(question="this", fault=fault)
    assert find("that") is None


def test_a_damaged_file_is_no_answer(file: Path) -> None:
    keep("this", None)
    text = file.read_text()
    for damaged in (
        "",
        text[: len(text) // 2],
        text.replace("null", "{}"),
        text.replace("null", '"null"'),
        text.replace("null", '{"what": "x"}'),
        text.replace("null", '{"what": "x", "fix": 1}'),
        text.replace("null", '{"what": "x", "fix": "y", "more": 1}'),
        text.replace("null", 'null, "more": 1'),
        text.replace('"question"', '"questions"'),
        "[" * 100_000,
        "null",
        text + " " * (1 << 17) + "x",
        "\xff\xfe{",
    ):
        file.write_bytes(damaged.encode("latin-1"))
        assert find("this") is None, damaged[:80]


def test_what_cannot_be_written_is_asked_again(file: Path) -> None:
    file.parent.touch()
    keep("this", None)
    assert find("this") is None


def test_the_file_can_be_read_by_a_person(file: Path) -> None:
    keep("this", BROKEN)
    assert json.loads(file.read_text()) == {
        "question": "this",
        "fault": {"what": "it hangs", "fix": "use another machine"},
    }


def test_the_question_is_another_after_a_reboot_with_another_qemu_or_another_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot_id, qemu, image = tmp_path / "boot_id", tmp_path / "qemu", tmp_path / "vmlinuz"
    for file in (boot_id, qemu, image):
        file.write_text("one")
    monkeypatch.setattr(remembered, "BOOT_ID", boot_id)
    monkeypatch.setattr(remembered, "require_tool", lambda name: {QEMU: str(qemu)}[name])
    kernel = HostKernel(image=image, modules=tmp_path)
    asked = [question(ARGS, 2, kernel)]
    assert question(ARGS, 2, kernel) == asked[0]
    for file in (boot_id, qemu, image):
        file.write_text("two")
        asked.append(question(ARGS, 2, kernel))
    asked += [question(ARGS, 4, kernel), question(["-accel", "kvm"], 2, kernel), question(ARGS, 2, None)]
    assert len(set(asked)) == len(asked)
