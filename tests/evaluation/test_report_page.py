"""The page: whole, the same each time, and in need of nothing beside it."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from stream_qa.errors import EvaluationError
from stream_qa.evaluation.evaluate import Quality
from stream_qa.evaluation.figures import Line
from stream_qa.evaluation.report import Plot, page, write_page

SVG = "{http://www.w3.org/2000/svg}"
LINE = Line("a <model>", np.array([0.0, 0.5, 1.0]), np.array([0.1, np.nan, 0.9]))
PLOT = Plot("AUC & more", "what it shows", "day", "AUC", [LINE], diagonal=True)
QUALITY = Quality("a <model>", 0.75, 0.7, 0.8, 0.5, 0.01, None, 0.6, 1234)


def content() -> str:
    return page(
        "Evaluation", ["a fact"], [QUALITY], [PLOT, Plot("who", "", "n", "AUC", [LINE], classes=["none", "some"])]
    )


def test_it_is_one_tree_with_a_table_and_a_drawing_a_plot() -> None:
    tree = ET.fromstring(content().removeprefix("<!DOCTYPE html>"))  # noqa: S314 # our own page
    assert [cell.text for cell in tree.iter("td")] == [
        "a <model>", "0.7500", "0.7000 to 0.8000", "0.5000", "0.0100", None, "0.6000", "1234"
    ]  # fmt: skip
    assert [heading.text for heading in tree.iter("h2")] == ["AUC & more", "who"]
    drawings = list(tree.iter(f"{SVG}svg"))
    assert len(drawings) == 2
    said = [{text.text for text in drawing.iter(f"{SVG}text")} for drawing in drawings]
    assert {"a <model>", "perfect", "day", "AUC"} <= said[0]
    assert {"none", "some"} <= said[1]


def test_it_asks_for_nothing_from_elsewhere() -> None:
    assert set(re.findall(r"https?://[^\"<>\s]*", content())) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)", content())


def test_the_same_numbers_give_the_same_page() -> None:
    assert content() == content()


def test_it_is_written_into_a_directory_that_need_not_exist(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a" / "b", content())
    assert path.read_text(encoding="utf-8") == content()
    with pytest.raises(EvaluationError, match="cannot be written"):
        write_page(path, content())
