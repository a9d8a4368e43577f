"""The page in a real browser: quiet, offline, every video plays, the controls do what they say."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import CHROMIUM, PLAYED, Page, chromium

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")

STEPPED = """(async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const take = document.querySelector(".take");
  take.scrollIntoView({ block: "center" });
  const videos = [...take.querySelectorAll("video")];
  for (let i = 0; i < 100 && !videos.every((v) => v.readyState >= 2); i++) await pause(50);
  const slider = take.querySelector("input");
  slider.value = 8;
  slider.dispatchEvent(new Event("input"));
  await pause(300);
  return [take.querySelector("output").textContent, take.querySelector(".play").textContent,
          videos.map((v) => v.paused), videos.map((v) => Math.floor(v.currentTime * 16))];
})()"""


LOADED = "[...document.querySelectorAll('.take video')].filter((v) => v.readyState > 0).length"
SOON = """(async () => {{
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  for (let i = 0; i < 400 && !({loaded} {wanted}); i++) await pause(50);
  return {loaded};
}})()"""
"""A number once it is as wanted, or what it still is after 20 s."""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def test_every_video_plays_without_an_error(tab: Page, page: Path) -> None:
    tab.open(page)
    videos = tab.run(PLAYED)
    assert len(videos) == 7 * 4 + 2
    assert [v for v in videos if v[1] < 2 or not v[2]] == []
    assert {v[3] for v in videos} == {384}
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []


def test_a_row_steps_together(tab: Page, page: Path) -> None:
    tab.open(page)
    counter, button, paused, frames = tab.run(STEPPED)
    assert counter == "9 / 17"
    assert button == "Play"
    assert paused == [True] * 4
    assert frames == [8] * 4
    assert tab.errors == []


def test_far_rows_are_let_go(tab: Page, page: Path) -> None:
    """A phone's browser refuses more than some dozens of videos at once."""
    tab.open(page, width=390, height=800)
    tab.run("document.querySelector('.take').scrollIntoView({ behavior: 'instant' })")
    assert tab.run(SOON.format(loaded=LOADED, wanted=">= 4")) >= 4
    tab.run("scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })")
    assert tab.run(SOON.format(loaded=LOADED, wanted="== 0")) == 0
    assert tab.errors == []


def test_nothing_moves_for_who_asked_for_calm(tab: Page, page: Path) -> None:
    tab.open(page, calm=True)
    tab.run("document.querySelector('.take').scrollIntoView()")
    time.sleep(0.5)
    assert tab.run("[...document.querySelectorAll('video')].every((v) => v.paused)") is True
    assert tab.run("document.getElementById('everything').textContent") == "Play all videos"


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_sticks_out(tab: Page, page: Path, width: int) -> None:
    tab.open(page, width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width
