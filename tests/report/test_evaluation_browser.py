"""The page of an evaluation in a real browser: another metric, videos that play, nothing that sticks out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import CHROMIUM, PLAYED, Page, chromium

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")

SHOWN = "[...document.querySelectorAll('.view')].filter((v) => v.checkVisibility()).map((v) => v.id)"
CHOOSE = """((n) => {
  const select = document.getElementById("metric");
  select.selectedIndex = n;
  select.dispatchEvent(new Event("change"));
  return select.value;
})"""
ONLY_VISIBLE = PLAYED.replace(
    'document.querySelectorAll(".take")',
    '[...document.querySelectorAll(".take")].filter((t) => t.checkVisibility()).slice(0, 2)',
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def test_another_metric_and_its_videos(tab: Page, evaluation_page: Path) -> None:
    tab.open(evaluation_page)
    assert tab.run(SHOWN) == ["view-1"]
    assert tab.run(f"{CHOOSE}(2)") == "PSNR"
    assert tab.run(SHOWN) == ["view-3"]
    videos = tab.run(ONLY_VISIBLE)
    assert len(videos) == 6
    assert [v for v in videos if v[1] < 2 or not v[2]] == []
    for n in (0, 2, 1):
        tab.run(f"{CHOOSE}({n})")
        assert tab.run(SHOWN) == [f"view-{n + 1}"]
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []


def test_the_keyboard_reaches_the_choice_and_the_videos(tab: Page, evaluation_page: Path) -> None:
    tab.open(evaluation_page, calm=True)
    reached = "document.activeElement.id || document.activeElement.className"
    tab.run("document.getElementById('metric').focus()")
    for key, code in (("ArrowDown", 40), ("Tab", 9)):
        for kind in ("rawKeyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)
    assert tab.run(SHOWN) == ["view-2"]
    assert tab.run(reached) == "everything"


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_sticks_out(tab: Page, evaluation_page: Path, width: int) -> None:
    tab.open(evaluation_page, width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert tab.run("document.documentElement.scrollWidth") <= width
