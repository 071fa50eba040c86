"""Rolling out, while somebody changes the repository between any two requests: the right roll-out, or a refusal.

All acts at all requests: pytest --full.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from ci.host.errors import AccessError, RefusedError
from ci.rehearsal.faults import Effect, Fault
from ci.rehearsal.tokens import WRITES, Token
from tests.support import sequence
from tests.support.releasing import TAG
from tests.support.stage import MANIFEST, Stage, assert_proposed, meanwhile

pytestmark = pytest.mark.integration


def switch_default_branch(stage: Stage, _token: Token) -> None:
    stage.api("POST", "/git/refs", {"ref": "refs/heads/trunk", "sha": stage.head()})
    stage.server.change(stage.repository, default_branch="trunk")


def rename_default_branch(stage: Stage, token: Token) -> None:
    """GitHub takes the open pull requests along: https://docs.github.com/repositories/configuring-branches-and-merges-
    in-your-repository/managing-branches-in-your-repository/renaming-a-branch
    """
    switch_default_branch(stage, token)
    for pull in stage.pulls():
        stage.api("PATCH", f"/pulls/{pull['number']}", {"base": "trunk"})
    stage.api("DELETE", "/git/refs/heads/main")


ACTS: Mapping[str, Callable[[Stage, Token], object]] = {
    "renamed": lambda stage, _: stage.server.rename(stage.repository, f"new-{stage.folder.name}"),
    "made private": lambda stage, _: stage.server.change(stage.repository, private=True),
    "archived": lambda stage, _: stage.server.change(stage.repository, archived=True),
    "default branch renamed": rename_default_branch,
    "default branch switched": switch_default_branch,
    "token expired": lambda stage, token: stage.server.expire(token),
}


# Where each makes a difference: at its last read, at the first write that others see, after the last one.
SHOWN = {
    "renamed": {"06 GET git/ref/heads/main", "16 GET repository", "22 POST pulls"},
    "made private": {"22 POST pulls"},
    "archived": {"16 GET repository", "22 POST pulls"},
    "default branch renamed": {"07 GET git/commits/SHA", "22 POST pulls", "25 GET repository"},
    "default branch switched": {"16 GET repository", "22 POST pulls"},
    "token expired": {"21 POST git/refs", "22 POST pulls", "24 GET git/ref/tags/TAG"},
}
# Who is locked out cannot take anything back.
LOCKED_OUT = {"archived", "token expired"}


def cases() -> list[object]:
    names = [f"{number:02} {request}" for number, request in enumerate(sequence.ROLL_OUT, start=1)]
    assert set().union(*SHOWN.values()) <= set(names)
    return [
        pytest.param(
            number, act, id=f"{name}: {act}", marks=() if name in SHOWN[act] else (pytest.mark.full,)
        )
        for number, name in enumerate(names, start=1)
        for act in ACTS
    ]  # fmt: skip


@pytest.mark.parametrize(("number", "act"), cases())
def test_what_happens_to_the_repository_between_two_requests(stage: Stage, number: int, act: str) -> None:
    stage.build()
    assert stage.publish().code == 0
    token = stage.server.job_token(stage.repository, **WRITES)
    held = stage.server.faults.arm(Fault(effect=Effect.PAUSE, call=number))
    with meanwhile(held, lambda: ACTS[act](stage, token)):
        run = stage.with_environ(GITHUB_TOKEN=token.secret).roll_out()
    now = replace(stage, repository=stage.api("GET", "")["full_name"])
    base = now.api("GET", "")["default_branch"]
    assert run.code in {0, AccessError.exit_code, RefusedError.exit_code}, run.said
    assert "Traceback" not in run.said
    if run.code == 0:
        assert_proposed(now, base=base)
    else:
        assert "next:" in run.said
        assert act in LOCKED_OUT or not [pull for pull in now.pulls() if pull["state"] == "open"]
        assert act in LOCKED_OUT or not [name for name in now.branches() if name.startswith("rollout/")]
    # Put right, and by whatever name it knows: one right roll-out.
    now.server.change(now.repository, archived=False)
    again = now.roll_out()
    assert again.code == 0, again.said
    assert_proposed(now, base=base, pulls=len(now.pulls()))
    assert f"/{now.repository}/releases/download/" in (now.read(MANIFEST, f"rollout/{TAG}") or "")
    assert now.roll_out().writes == []
