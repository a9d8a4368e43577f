"""One made-up run and one made-up evaluation with their pages, built once for all tests that only look."""

from pathlib import Path

import pytest
from fake_evaluation import make_fake_evaluation
from fake_run import make_fake_run

from cinetune.report.evaluation import build_page
from cinetune.report.page import build_report


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index.html of a finished run with seven held-out clips, six of them open."""
    return build_report(make_fake_run(tmp_path_factory.mktemp("fake") / "run", test_clips=7, train_clips=3, showcase=1))


@pytest.fixture(scope="session")
def evaluation_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index.html of an evaluation of two arms, a held frame and real videos, eight sources each."""
    return build_page(make_fake_evaluation(tmp_path_factory.mktemp("fake") / "evaluation"))
