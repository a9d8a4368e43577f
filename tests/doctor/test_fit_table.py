"""The tables of docs/will-it-fit.md are what the code says today."""

from pathlib import Path

from doctor.fit_table import rows

PAGE = Path(__file__).parents[2] / "docs" / "will-it-fit.md"


def test_the_tables_of_the_page_are_printed_by_the_code() -> None:
    assert "\n".join(rows()) in PAGE.read_text(encoding="utf-8"), "run python tests/doctor/fit_table.py"
