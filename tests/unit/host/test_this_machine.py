from pytest_mock import MockerFixture

from ci.host import this_machine as machine
from ci.host.accelerator.kvm_device import KvmFault
from ci.host.this_machine import ThisMachine

BROKEN = KvmFault(what="it hangs", fix="use another machine")


def test_whoever_asks_this_machine_about_kvm_has_it_tried_now(mocker: MockerFixture) -> None:
    tried = mocker.patch.object(machine, "find_kvm_fault", return_value=BROKEN)
    assert ThisMachine().kvm_fault() == BROKEN
    tried.assert_called_once_with(anew=True)
