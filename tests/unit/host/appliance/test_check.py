import pytest

from ci.host.appliance.check import first_host, judge, parse_answer, questions
from ci.host.errors import InputError
from ci.host.prerequisites import Status

ADDRESS = "2: eth0    inet 169.254.2.15/16 brd 169.254.255.255 scope global dynamic eth0\\       valid_lft 86394sec\n"
RESOLVER = "# made by dhclient\nnameserver 169.254.2.3\n"
HOSTS = "203.0.113.80    deb.example.org\n"


def statuses(output: str, host: str | None = "deb.example.org") -> list[Status]:
    return [finding.status for finding in judge(parse_answer(output), host)]


def test_the_answer_is_taken_apart() -> None:
    answer = parse_answer(f"{ADDRESS}----\n{RESOLVER}----\n{HOSTS}")
    assert answer.addresses == ("169.254.2.15/16",)
    assert answer.name_servers == ("169.254.2.3",)
    assert answer.resolved == ("203.0.113.80",)


def test_an_appliance_with_address_and_dns_is_fine() -> None:
    assert statuses(f"{ADDRESS}----\n{RESOLVER}----\n{HOSTS}") == [Status.OK, Status.OK]
    assert statuses(f"{ADDRESS}----\n{RESOLVER}", None) == [Status.OK, Status.OK]


def test_an_appliance_without_address_is_told_once() -> None:
    assert statuses("----\n----\n") == [Status.MISSING]


def test_a_name_that_is_not_found_is_told_with_who_was_asked() -> None:
    _, finding = judge(parse_answer(f"{ADDRESS}----\n{RESOLVER}----\n"), "deb.example.org")
    assert finding.status is Status.MISSING
    assert finding.found == "not found by 169.254.2.3"
    assert "getent hosts deb.example.org" in finding.fix


def test_a_complaint_is_no_address() -> None:
    assert statuses(f"{ADDRESS}----\n{RESOLVER}----\ngetent: out of memory\n") == [Status.OK, Status.MISSING]


def test_an_appliance_that_lacks_a_package_is_told_as_such() -> None:
    (finding,) = judge(
        parse_answer(f"{ADDRESS}----\n{RESOLVER}----\n/bin/sh: 1: getent: not found\n"), "deb.example.org"
    )
    assert finding.status is Status.MISSING
    assert ".guestfs-" in finding.fix


def test_one_script_asks_everything() -> None:
    assert questions("deb.example.org").count("----") == 2
    assert "getent hosts deb.example.org" in questions("deb.example.org")
    assert "getent" not in questions(None)


@pytest.mark.parametrize("host", ["a; reboot", "$(id)", "", "-x", "a b", "a\nb"])
def test_a_host_is_a_name_and_no_command(host: str) -> None:
    with pytest.raises(InputError):
        questions(host)


def test_the_first_package_source_with_a_host_counts() -> None:
    sources = ["file:/srv/archive", "https://deb.example.org/debian", "http://other.example.org/x"]
    assert first_host(sources) == "deb.example.org"
    assert first_host(["file:///srv", "copy:/srv"]) is None
