"""Save pictures of a report: python tests/screenshot.py RUN/report/index.html OUT_FOLDER

Desktop (1280 px) and phone (390 px), light and dark, the whole page with everything loaded.
"""

import sys
import tempfile
from pathlib import Path

from devtools import Page, chromium

READY = """(async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  document.documentElement.style.scrollBehavior = "auto";
  document.querySelectorAll("img").forEach((i) => { i.loading = "eager"; });
  for (let y = 0; y < document.body.scrollHeight; y += innerHeight / 2) { scrollTo(0, y); await pause(30); }
  scrollTo(0, 0);
  await pause(400);
  return document.body.scrollHeight;
})()"""


def shoot(page: Page, report: Path, folder: Path) -> list[Path]:
    """Save four pictures and return their paths."""
    files = []
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        page.open(report, width=width, scheme=scheme, calm=True)
        page.run(READY)
        files.append(folder / f"report-{width}-{scheme}.png")
        page.screenshot(files[-1])
    return files


if __name__ == "__main__":
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, chromium(Path(profile)) as tab:
        for saved in shoot(tab, Path(sys.argv[1]), out):
            print(saved)
