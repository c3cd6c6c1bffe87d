"""Numbers by the decimal mark that their file proves."""

from __future__ import annotations

import math

import pytest

from edgebench.text.number_parsing import (
    MixedMarks,
    TwoReadings,
    decimal_mark,
    is_ambiguous,
    parse_number,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1234.5", 1234.5), ("1,234.5", 1234.5), ("1.234,5", 1234.5), ("1 234,5", 1234.5),
        ("1'234.5", 1234.5), ("1\u00a0234,5", 1234.5), ("1,234,567", 1234567.0), ("0,250", 0.25),
        ("2,5", 2.5), ("1.2345", 1.2345), ("1.234.567", 1234567.0), ("-0,5", -0.5), ("1,5e3", 1500.0),
        ("5", 5.0), (".5", 0.5), (",5", 0.5), ("1234,567", 1234.567), ("1e-3", 0.001),
        ("\u22125,5", -5.5),
    ],
)  # fmt: skip
def test_a_number_that_can_be_one_number_alone(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1,2,3", "12,34,567", "1_000", "1.2.3", "--1", "5 W"])
def test_text_that_is_not_a_number_is_refused(text: str) -> None:
    assert parse_number(text) is None
    assert parse_number(text, ".") is None
    assert parse_number(text, ",") is None


def test_ambiguous_numbers_are_read_by_the_known_decimal_mark() -> None:
    for text in ("5,000", "5.000"):
        with pytest.raises(TwoReadings, match=f"'{text}' may be 5 or 5000"):
            parse_number(text)
    assert (parse_number("5,000", "."), parse_number("5,000", ",")) == (5000.0, 5.0)
    assert (parse_number("5.000", "."), parse_number("5.000", ",")) == (5.0, 5000.0)
    assert (is_ambiguous("5,000"), is_ambiguous("5,00"), is_ambiguous("5")) == (True, False, False)


def test_the_mark_is_proved_by_a_number_that_has_one_reading() -> None:
    assert decimal_mark(["5,000", "12", "0.25"]) == "."
    assert decimal_mark(["5,000", "12", "0,25"]) == ","
    assert decimal_mark(["5,000", "12", "1.234"]) == ""
    assert decimal_mark(["5.000", "12"], between=",") == "."
    assert decimal_mark(["5.000", "12"], between=";") == ""
    assert decimal_mark(["5,000", "1.234"], between=",") == ""
    assert decimal_mark(["5.000", "0,25"], between=",") == ","
    with pytest.raises(MixedMarks, match=r"'0.25' has a decimal point, '2,5' a decimal comma"):
        decimal_mark(["5,000", "0.25", "2,5"])


def test_words_for_what_is_no_finite_number() -> None:
    assert math.isnan(parse_number("nan") or 0)
    assert parse_number("-inf", ",") == -math.inf
