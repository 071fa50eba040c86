import itertools
import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.catalogue import chart, view
from ci.catalogue.chart import draw_charts
from ci.catalogue.site import PAGE, catalogue_files
from ci.records.release import ReleaseRecord
from ci.records.version import Version
from tests.support.release_records import make_image, make_record


def tags(count: int) -> list[str]:
    return [str(Version(date(2026, 1, 1) + timedelta(days=number))) for number in range(count)]


def history(*boots: tuple[str, float] | None, size: int = 364_200_000) -> list[view.ShownRelease]:
    """Releases, newest first, from boots, oldest first: the accelerator and the seconds."""
    records: list[ReleaseRecord] = []
    for tag, boot in zip(tags(len(boots)), boots, strict=True):
        image = make_image(tag, size=size, times={"consumer": boot[1]} if boot else {})
        validation = image.validation.model_copy(update={"accelerator": boot[0] if boot else "kvm"})
        records.append(make_record(tag, image.model_copy(update={"validation": validation})))
    return [view.ShownRelease(record=record) for record in records[::-1]]


def test_dots_go_from_the_oldest_to_the_newest() -> None:
    drawn = draw_charts(history(("kvm", 9.0), ("kvm", 7.0), ("kvm", 8.0)))[1]
    assert [figure.text for figure in drawn.figures] == ["9.0 s", "7.0 s", "8.0 s"]
    assert [drawn.x(figure) for figure in drawn.figures] == sorted(map(drawn.x, drawn.figures))
    assert drawn.y(7.0) > drawn.y(8.0) > drawn.y(9.0)  # downwards, as in a picture


def test_a_start_without_kvm_is_not_joined_to_one_with() -> None:
    drawn = draw_charts(history(("tcg", 31.0), ("tcg", 30.0), ("kvm", 7.0), ("kvm", 6.0), ("tcg", 29.0)))[1]
    assert [figure.hollow for figure in drawn.figures] == [True, True, False, False, True]
    assert [len(line.split()) for line in drawn.lines] == [2, 2]


def test_a_release_without_a_measured_boot_leaves_its_place_empty() -> None:
    drawn = draw_charts(history(("kvm", 9.0), None, ("kvm", 8.0)))[1]
    whole = draw_charts(history(("kvm", 9.0), None, ("kvm", 8.0)))[0]
    assert [drawn.x(one) for one in drawn.figures] == [whole.x(whole.figures[0]), whole.x(whole.figures[2])]


def test_without_any_figure_there_is_nothing_to_draw() -> None:
    drawn = draw_charts(history(None))[1]
    assert (drawn.figures, drawn.lines, drawn.summary) == ([], [], "No release has this figure.")


def test_a_single_release_is_one_dot() -> None:
    drawn = draw_charts(history(("kvm", 9.0)))[0]
    assert len(drawn.figures) == 1
    assert drawn.lines == []
    assert drawn.summary == "364.2 MB in v2026.01.01."


def test_the_chart_is_said_in_words() -> None:
    drawn = draw_charts(history(("kvm", 9.0), ("kvm", 6.5), ("kvm", 8.0)))[1]
    assert drawn.summary == (
        "From 9.0 s in v2026.01.01 to 8.0 s in v2026.01.03; lowest 6.5 s in v2026.01.02, highest 9.0 s in v2026.01.01."
    )


def test_many_releases_are_cut_to_the_newest_and_only_the_ends_have_their_values_written() -> None:
    releases = history(*[("kvm", float(number)) for number in range(chart.MOST_RELEASES + 5)])
    drawn = draw_charts(releases)[1]
    assert len(drawn.figures) == chart.MOST_RELEASES
    page = catalogue_files([release.record for release in releases])[PAGE]
    assert re.findall(r'class="value"[^>]*>([0-9.]+ s)<', page) == ["5.0 s", "64.0 s"]
    assert len(drawn.marks) == chart.MOST_TAGS


@pytest.mark.parametrize("count", [1, 2, 3, 4, 60])
def test_tags_stay_inside_and_apart(count: int) -> None:
    drawn = draw_charts(history(*[("kvm", 1.0)] * count))[0]
    assert drawn.marks[0][1] == "v2026.01.01"
    assert drawn.marks[-1][1] == tags(count)[-1]
    for (one, *_), (other, *_) in itertools.pairwise(drawn.marks):
        assert other - one > 90


@given(st.floats(0, 86_400), st.integers(0, 1 << 50))
def test_every_dot_is_inside_and_the_axis_starts_at_zero(seconds: float, size: int) -> None:
    releases = history(("kvm", seconds), ("kvm", seconds / 3), size=size)
    for drawn in draw_charts(releases):
        for figure in drawn.figures:
            assert chart.LEFT < drawn.x(figure) < chart.WIDTH - chart.RIGHT
            assert chart.TOP <= drawn.y(figure.number) <= chart.HEIGHT - chart.BOTTOM
        at, label = drawn.levels[0]
        assert at == chart.HEIGHT - chart.BOTTOM
        assert label in {"0 s", "0 B"}
        assert 2 <= len(drawn.levels) <= chart.TICKS + 2
        assert len({label for _, label in drawn.levels}) == len(drawn.levels)
