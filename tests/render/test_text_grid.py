"""Columns and lines of text: labels, numbers, widths."""

from __future__ import annotations

import pytest

from edgebench.render.text_grid import Column, GridRow, columns, fits, grid
from edgebench.render.wrapping import cut, labelled, wrapped_text

ROWS = [GridRow("short", ["1", "22"]), GridRow("a label of some length", ["333", "4"])]


def drawn(width: int | None, head: list[Column] | None = None) -> list[str]:
    return [line for line, _ in grid(head or columns("name", "a", "b"), ROWS, width)]


def test_columns_stand_two_spaces_apart_where_there_is_room_and_else_one() -> None:
    assert drawn(80)[2] == "a label of some length  333   4"
    assert drawn(30)[2] == "a label of some length 333  4"


def test_a_label_that_does_not_fit_has_a_line_of_its_own_and_no_number_is_cut() -> None:
    assert drawn(16) == [
        "name        a  b", "short       1 22", "a label of some", "  length", "          333  4",
    ]  # fmt: skip


def test_a_dispensable_column_goes_before_a_label_is_moved() -> None:
    head = [Column("name", right=False), Column("a"), Column("b", dispensable=True)]
    assert drawn(27, head)[-1] == "a label of some length  333"
    assert drawn(30, head)[-1].endswith(" 4")


def test_without_a_width_every_row_is_one_line() -> None:
    assert len(drawn(None)) == 3


def test_a_head_without_names_is_left_out() -> None:
    assert len(drawn(80, columns("", "", ""))) == 2


def test_cells_that_leave_no_room_for_the_head_of_the_labels_do_not_fit() -> None:
    assert fits(columns("name", "a", "b"), ROWS, 11)
    assert not fits(columns("name", "a", "b"), ROWS, 10)


def test_a_long_name_is_cut_after_a_slash() -> None:
    lines = list(wrapped_text("see model@1/ort/precision=int8,threads=1", 20))
    assert lines == ["see model@1/ort/", "  precision=int8,", "  threads=1"]
    assert "".join(line.strip() for line in wrapped_text("x" * 50, 20)) == "x" * 50


@pytest.mark.parametrize(("width", "text"), [(8, "12345678"), (7, "1234...")])
def test_a_line_is_cut_only_where_it_must_be(width: int, text: str) -> None:
    assert cut("12345678", width) == text


def test_a_labelled_text_keeps_to_its_column() -> None:
    lines = [line for line, _ in labelled("  name", "one two three", 8, 16)]
    assert lines == ["  name  one two", "        three"]
