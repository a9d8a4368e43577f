"""docs/metrics.md is what the metrics say of themselves today."""

from pathlib import Path

from metrics.cards_page import page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_printed_by_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/metrics/cards_page.py > docs/metrics.md"
