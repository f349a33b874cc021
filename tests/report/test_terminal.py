import io

import numpy as np
import pytest
from rich.console import Console

from dfcl_jax.errors import literal
from dfcl_jax.report.terminal import markdown_table, number, per_cent, say, show, terminal_tables


def printed(headers, rows, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(console, terminal_tables(headers, rows, width=width))
    return console.file.getvalue()  # pyright: ignore


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.13149, "1.131"),
        (0.97941, "0.9794"),
        (1e-4, "0.0001"),
        (1.234e-7, "0.00000012"),
        (1.938e-9, "0"),
        (-1.938e-9, "0"),
        (-0.25, "-0.25"),
        (123456.7, "123457"),
        (0.0, "0"),
        (np.nan, "-"),
        (np.inf, "inf"),
        (12, "12"),
        ("name", "name"),
    ],
)
def test_numbers_are_never_written_with_an_exponent(value, text):
    assert number(value) == text


def test_shares_are_in_per_cent():
    assert per_cent(0.08123) == "8.1 %"


HEADERS = ["budget", *(f"share of a treatment with a long name {k}" for k in range(5))]
ROWS = [["0.025", *(f"{k}.12345 [0.1, 0.2]" for k in range(5))], ["0.05", *(f"{k}.6789 [0.3, 0.4]" for k in range(5))]]


@pytest.mark.parametrize("width", [10, 40, 60, 80, 200])
def test_no_cell_is_cut_whatever_the_width(width):
    text = printed(HEADERS, ROWS, width)
    assert "…" not in text
    for row in ROWS:
        for cell in row[1:]:
            assert cell in text
    if width >= 80:
        assert max(len(line) for line in text.splitlines()) <= width


def test_a_table_of_many_columns_and_few_rows_is_turned():
    lines = printed(HEADERS, ROWS, 90).splitlines()
    assert any(line.split() == ["budget", "0.025", "0.05"] for line in lines)


def test_names_are_printed_as_they_are():
    text = printed(["treatment", "n"], [["[/20%]", "1"], ["[red]10%", "2"]], 80)
    assert "[/20%]" in text
    assert "[red]10%" in text


def test_a_bar_in_a_name_does_not_end_a_cell_of_markdown():
    assert markdown_table(["a|b"], [["1"]]) == "| a\\|b |\n| --- |\n| 1 |\n"


def test_a_number_in_the_first_column_is_not_broken_where_the_table_would_just_fit():
    headers, rows = ["budget", "spend"], [["0.1234", "+1.23 ±4.56"]]
    for width in range(22, 40):
        assert "0.1234" in printed(headers, rows, width)


# What a terminal, its library or Markdown would act on: a line break, an escape, a sign from right to left, markup,
# the name of a picture.
NAME = "a\nb\t\x1b[31m \u202e[red]x[/b] :smile: süß"


def test_nothing_in_a_name_is_acted_on():
    shown = r"a\nb\t\x1b[31m \u202e[red]x[/b] :smile: süß"
    assert literal(NAME) == shown
    console = Console(file=io.StringIO(), width=200)
    say(console, NAME)
    assert console.file.getvalue() == shown + "\n"  # pyright: ignore
    assert shown in printed([NAME, "x"], [["1", "2"]], 200)
    assert shown in printed(["x", "y"], [[NAME, "2"]], 200)
    assert markdown_table([NAME], []).count("\n") == 2
