"""What docs/consuming.md says of flags, codes and the action is so."""

import re
from pathlib import Path

from ci import ensure_vm
from ci.boot.vm.qemu import ConsumerSpec
from ci.host import errors
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.repository import ROOT
from tests.support.documented import qemu_lines

TEXT = (ROOT / "docs" / "consuming.md").read_text(encoding="utf-8")


def test_each_flag_is_explained_and_no_other() -> None:
    known = set(ensure_vm.arguments().format_help().split("options:")[1].replace(",", " ").split())
    rows = "".join(re.findall(r"^\| `--.*?\|", TEXT, re.MULTILINE))
    assert set(re.findall(r"--[a-z]+", rows)) == {word for word in known if word.startswith("--")} - {"--help"}


def test_the_codes_are_those_of_errors() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    raised = (
        errors.InputError,
        errors.HostError,
        errors.FetchError,
        errors.VerificationError,
        errors.AccessError,
        errors.RefusedError,
    )
    assert documented == {error.exit_code for error in raised}


def test_the_actions_inputs_and_outputs_are_all_named() -> None:
    action = (ROOT / ".github" / "actions" / "ensure-vm" / "action.yml").read_text(encoding="utf-8")
    inputs, outputs = action.partition("\nruns:")[0].split("\noutputs:")
    sentence = re.search(r"Inputs: (.*?); outputs: (.*?)\. ", TEXT, re.DOTALL)
    assert sentence is not None
    for documented, block in zip(sentence.groups(), (inputs.partition("inputs:")[2], outputs), strict=True):
        assert re.findall(r"`(\w+)`", documented) == re.findall(r"^  (\w+):$", block, re.MULTILINE)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target


def test_the_machine_by_hand_is_the_consumers() -> None:
    acceleration = Acceleration(accelerator=Accelerator.KVM, reason="")
    spec = ConsumerSpec(image=Path("$image"), workspace=Path("$PWD"), host_port=3023)
    assert qemu_lines()[0] == spec.argv(acceleration, None)


def test_the_safe_machine_is_the_same_without_the_ways_out() -> None:
    usual, safe = (" ".join(words) for words in qemu_lines())
    for way in ("user,id=net0,restrict=on,", "-sandbox on,", "security_model=mapped-xattr"):
        assert way in safe
        assert way not in usual
    assert re.findall(r"security_model=none,(\S+)", safe) == ["readonly=on"]
    for same in ("snapshot=on", "hostfwd=tcp:127.0.0.1:3023-:3023", "-nographic"):
        assert same in safe
