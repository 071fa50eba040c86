"""Text of others in every field of what is shown: it changes nothing but the text."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from ci import ensure_vm
from ci.boot.report import render_markdown
from ci.compare import FORMATS
from ci.comparison import pull_request, words
from ci.comparison.difference import Difference
from ci.comparison.image_facts import Evidence, difference, of_build
from ci.host import cli
from ci.host.progress import Reporter
from tests.support.consuming import Consumer, manifest
from tests.support.flood import flooded
from tests.support.releasing import PACKAGES, build_record, validation_report
from tests.unit.host.test_rim import HOSTILE as UNSEEN
from tests.unit.host.test_rim import nothing_but_text

BENIGN = "Words!"
HOSTILE = [
    *UNSEEN,
    "@someone @org/team #1 GH-1 owner/repo#1 " + "c0ffee" * 6,
    "https://evil.example www.evil.example me@evil.example",
    "![x](https://evil.example/x.png) [y](https://evil.example) [z]: https://evil.example",
    "<!-- <img src=https://evil.example> </details></pre><script>",
    "` `` ``` ```` ~~~ \\` \\",
    "a | b || c\n| --- |\n\n# Heading\n- item\n> quote\n\n    code\n***\n",
    "$`x`$ $$ :bomb: **bold** _italics_ ~~gone~~ &commat;someone &#64;someone",
    " padded ",
]


def evidence(text: str) -> Evidence:
    build = build_record()
    report = validation_report(build)
    return Evidence(
        build=flooded(build, text),
        packages=tuple(flooded(package, text) for package in PACKAGES),
        report=flooded(report, text),
    )


def compared(text: str) -> Difference:
    one = of_build(text, evidence(text))
    other = of_build(text, replace(evidence(text), packages=(), report=None))
    return flooded(difference(one, other), text)


def comment(text: str) -> str:
    one = evidence(text)
    before = pull_request.Before(tag=text, url=text, image=of_build(text, replace(one, packages=())))
    return pull_request.render([text, "other"], {text: one}, {text: before}, good=True, run=text)


RENDERED: dict[str, Callable[[str], str]] = {
    "a boot test's report": lambda text: render_markdown(flooded_report(text)),
    "a comparison": lambda text: words.markdown(compared(text)),
    "a pull request's comment": comment,
}


def flooded_report(text: str) -> Any:  # noqa: ANN401 - a report
    report = validation_report(build_record())
    ids = [check.id for check in report.checks]
    wet = flooded(report, text)
    # Of a check that failed the report tells what checks.toml says of it.
    checks = [check.model_copy(update={"id": known}) for check, known in zip(wet.checks, ids, strict=True)]
    return wet.model_copy(update={"checks": checks})


def structure(markdown: str) -> list[tuple[str, str, object, str]]:
    """All that is no text of a code span: tokens, tags, attributes, and the words that are ours."""
    parser = MarkdownIt("commonmark").enable("table")

    def seen() -> Iterator[tuple[str, str, object, str]]:
        for token in parser.parse(markdown):
            for child in (token, *(token.children or [])):
                ours = child.content if child.type in {"text", "fence"} else ""
                yield child.type, child.tag, child.attrs, ours

    return list(seen())


@pytest.mark.parametrize("what", RENDERED)
def test_markdown_keeps_its_form(what: str, subtests: pytest.Subtests) -> None:
    plain = structure(RENDERED[what](BENIGN))
    assert any(kind == "code_inline" for kind, *_ in plain)
    for text in HOSTILE:
        with subtests.test(text=ascii(text)):
            markdown = RENDERED[what](text)
            single = text.replace("\n", " ").strip()
            assert [one for one in structure(markdown) if one[0] != "softbreak"] == plain or "\n" in text, single
            assert markdown.replace("\n", "").replace("\t", "").isprintable()
            for alive in ("@someone", "evil.example", "<img", "<script", "GH-1"):
                assert all(alive not in ours for *_, ours in structure(markdown))


def test_a_comparison_on_a_terminal_is_nothing_but_text(
    capsys: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    for text in HOSTILE:
        for name, show in FORMATS.items():
            with subtests.test(text=ascii(text), form=name):
                show(compared(text))
                told = capsys.readouterr().out
                assert nothing_but_text(told)
                if name == "json":
                    assert text in json.dumps(json.loads(told), ensure_ascii=False) or json.loads(told)


def manifests(text: str) -> Iterator[object]:
    good = manifest("image.qcow2", version="v2026.11.23", qcow2_url="https://example.org/image.qcow2")
    for field in good["image"]:
        yield {**good, "image": {**good["image"], field: text}}
        yield {**good, "image": {**good["image"], field: f"https://example.org/{text}.qcow2"}}
    yield {**good, "image": {**good["image"], text: 1}}
    for field in ("tools", "operations", "owner", text):
        yield {**good, field: text}
        yield {**good, field: {text: [text]}}
    yield json.dumps(good).replace("image", text, 1).encode(errors="surrogatepass")
    yield text.encode(errors="surrogatepass")


def test_whatever_a_manifest_says_the_terminal_shows_nothing_but_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLSMITH_LOGS", str(tmp_path / "logs"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    (tmp_path / "work\x1b[2J\n::error::x\udcff").mkdir()
    consumer = Consumer(tmp_path / "work\x1b[2J\n::error::x\udcff")
    for text in ("\x1b[2J\r\u202e\u200b", "x\n::error::\x9by", "##[error]\ud800"):
        for document in manifests(text):
            consumer.write(document)
            with monkeypatch.context() as patch:
                # What pytest keeps of the log, as it was before it was formatted, no worker of its could hand on.
                patch.setattr(logging.getLogger(), "handlers", [])
                cli.run(ensure_vm.main, ensure_vm.arguments(), ["--workspace", str(consumer.workspace), "--offline"])
            told = capsys.readouterr()
            raw = [line for line in told.err.split("\n") if not line.startswith("::error::")]
            assert nothing_but_text("\n".join(raw))
            assert nothing_but_text(told.out)
            assert all(line.isprintable() for line in told.err.replace("\t", "").split("\n"))
    assert (tmp_path / "summary").read_text().replace("\n", "").replace("\t", "").isprintable()
    for log in (tmp_path / "logs").iterdir():
        assert nothing_but_text(log.read_text())


def test_a_reporter_of_a_release_shows_nothing_but_text() -> None:
    said = io.StringIO()
    reporter = Reporter(Console(file=said, width=100), in_actions=False)
    for text in HOSTILE:
        reporter.table(text, ("what", text), [(text, text)])
    assert nothing_but_text(said.getvalue())
