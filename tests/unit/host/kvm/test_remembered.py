import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host.kvm import remembered
from ci.host.kvm.device import Fault
from ci.host.kvm.kernel import Kernel
from ci.host.kvm.remembered import Answers, question
from ci.host.qemu import QEMU

BROKEN = Fault(what="it hangs", fix="use another machine")
ARGS = ["-accel", "kvm", "-cpu", "host"]


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path / "cache" / "kvm.json")


@pytest.mark.parametrize("fault", [None, BROKEN])
def test_an_answer_is_found_again_for_its_question_only(answers: Answers, fault: Fault | None) -> None:
    assert answers.find("this") is None
    answers.keep("this", fault)
    assert answers.find("this") == (fault,)
    assert answers.find("that") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda _text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("null", "{}"),
        lambda text: text.replace("null", '"null"'),
        lambda text: text.replace("null", '{"what": "x"}'),
        lambda text: text.replace("null", '{"what": "x", "fix": 1}'),
        lambda text: text.replace("null", 'null, "more": 1'),
        lambda text: text.replace('"question"', '"questions"'),
        lambda _text: "[" * 100_000,
        lambda _text: "null",
        lambda text: text + " " * (1 << 17) + "x",
    ],
)
def test_a_damaged_file_is_no_answer(answers: Answers, tmp_path: Path, damage: Callable[[str], str]) -> None:
    answers.keep("this", None)
    file = tmp_path / "cache" / "kvm.json"
    file.write_text(damage(file.read_text()))
    assert answers.find("this") is None


def test_bytes_that_are_no_text_are_no_answer(answers: Answers, tmp_path: Path) -> None:
    answers.keep("this", None)
    (tmp_path / "cache" / "kvm.json").write_bytes(b"\xff\xfe{")
    assert answers.find("this") is None


def test_what_cannot_be_written_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answers = Answers(tmp_path / "file" / "kvm.json")
    answers.keep("this", None)
    assert answers.find("this") is None


def test_the_file_can_be_read_by_a_person(answers: Answers, tmp_path: Path) -> None:
    answers.keep("this", BROKEN)
    document = json.loads((tmp_path / "cache" / "kvm.json").read_text())
    assert document == {"question": "this", "fault": {"what": "it hangs", "fix": "use another machine"}}


def test_the_question_is_another_after_a_reboot_with_another_qemu_or_another_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot_id, qemu, image = tmp_path / "boot_id", tmp_path / "qemu", tmp_path / "vmlinuz"
    for file in (boot_id, qemu, image):
        file.write_text("one")
    monkeypatch.setattr(remembered, "BOOT_ID", boot_id)
    monkeypatch.setattr(remembered, "require_tool", lambda name: {QEMU: str(qemu)}[name])
    kernel = Kernel(image=image, modules=tmp_path)
    asked = [question(ARGS, 2, kernel)]
    assert question(ARGS, 2, kernel) == asked[0]
    for file in (boot_id, qemu, image):
        file.write_text("two")
        asked.append(question(ARGS, 2, kernel))
    asked += [question(ARGS, 4, kernel), question(["-accel", "kvm"], 2, kernel), question(ARGS, 2, None)]
    assert len(set(asked)) == len(asked)
