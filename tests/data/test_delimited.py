"""CSV files as spreadsheets and databases write them."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfcl_jax import InputError
from dfcl_jax.data import Reading, read_frame
from dfcl_jax.data.delimited import GROUP, look_through
from dfcl_jax.data.parts import open_parts

CITIES = pd.DataFrame({"city": ["Zürich", "Bern", None], "price": [1.5, -2.25, np.nan], "n": [1, 2, 3]})


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")])
def test_encoding_separator_and_decimal_sign_are_found_out(tmp_path: Path, encoding: str, separator: str, decimal: str):
    CITIES.to_csv(tmp_path / "a.csv", index=False, sep=separator, decimal=decimal, encoding=encoding)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "a.csv"), CITIES)
    given = Reading(separator=separator, decimal=decimal, encoding=encoding)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "a.csv", reading=given), CITIES)


def test_what_is_not_usual_is_named(tmp_path: Path):
    CITIES.to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",", encoding="cp1252")
    notes = "\n".join(look_through(tmp_path / "a.csv", Reading()).notes())
    assert "not UTF-8: read as cp1252" in notes
    assert "separated by ';'" in notes
    assert "decimals are written with ','" in notes
    CITIES.to_csv(tmp_path / "b.csv", index=False)
    assert look_through(tmp_path / "b.csv", Reading()).notes() == []


def test_bytes_that_windows_does_not_know_are_latin_1(tmp_path: Path):
    assert read_frame(written(tmp_path, b"a,b\n\xe9\x81,1\n")).a[0] == "é\x81"


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path):
    assert read_frame(written(tmp_path, "a,b\n1,2\n")).b[0] == 2
    assert read_frame(written(tmp_path, "a,b\n1,word\n")).b[0] == "word"


def test_a_point_among_decimal_commas_stands_between_thousands(tmp_path: Path):
    frame = read_frame(written(tmp_path, "a;b;c\n1.234;0,5;7.5\n-1.234.567,25;1,5;1\n"))
    assert frame.a.tolist() == [1234, -1_234_567.25]
    assert frame.b.tolist() == [0.5, 1.5]
    # No thousands: these are decimals after all.
    assert frame.c.tolist() == [7.5, 1]


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        # By a comma alone, by a point alone, and what either of them could be.
        ("a;b\n1,5;1.234\n2;5.678\n", [1.5, 2], [1234, 5678]),
        ("a;b\n3.14;1,234\n2;5,678\n", [3.14, 2], [1234, 5678]),
        ("a;b\n2,5;1,234\n2;5,678\n", [2.5, 2], [1.234, 5.678]),
        ('a,b\n"1,5",1\n"2,25",2\n', [1.5, 2.25], [1, 2]),
        ('a,b\n"1,234.5",1\n"12,250",2\n', [1234.5, 12250], [1, 2]),
        ('a,b\n"1,2,3",1\n"1,2",2\n', ["1,2,3", "1,2"], [1, 2]),
        ("a;b\n1.234;1\n5.678;2\n", [1.234, 5.678], [1, 2]),
        ("a;b\n0,125;1\n0,250;2\n", [0.125, 0.25], [1, 2]),
    ],
)
def test_every_column_has_the_decimal_sign_by_which_it_is_numbers(tmp_path: Path, text: str, a: list, b: list):
    frame = read_frame(written(tmp_path, text))
    assert frame.a.tolist() == a
    assert frame.b.tolist() == b


def test_what_may_be_1234_or_1_point_234_is_asked_for(tmp_path: Path):
    file = written(tmp_path, "a;b\n1,234;2\n5,678;3\n")
    with pytest.raises(InputError, match=r"column 'a' of .*: found numbers such as 1,234 alone, expected .* --decimal"):
        read_frame(file)
    assert read_frame(file, reading=Reading(decimal=",")).a.tolist() == [1.234, 5.678]
    assert read_frame(file, reading=Reading(decimal=".")).a.tolist() == [1234, 5678]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_first_line_that_names_the_separator_is_none_of_the_table(tmp_path: Path, encoding: str):
    file = written(tmp_path, "sep=;\r\nstädte;b\r\nx,y;2\r\n".encode(encoding))
    assert read_frame(file).to_dict("list") == {"städte": ["x,y"], "b": [2]}


def test_quoted_values_may_have_separators_quotes_and_new_lines(tmp_path: Path):
    frame = pd.DataFrame({"a, b": ['x "y"', "one\ntwo", "p,q"], "c": [1, 2, 3]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "a.csv"), frame)


def test_the_separator_is_the_one_that_rows_and_names_agree_on(tmp_path: Path):
    frame = read_frame(written(tmp_path, b"t;a,b;c\n1;2;3\n4;5;6\n", "a.csv"))
    assert list(frame.columns) == ["t", "a,b", "c"]
    assert frame.to_numpy().tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("name", "content", "reading", "words"),
    [
        ("a.csv", b"t,t\n1,2\n", Reading(), ["column 't'", "more than once", "a.csv", "different names"]),
        ("a.csv", "ä,r\n1,2\n".encode("cp1252"), Reading(encoding="utf-8"), ["a.csv", "unreadable", "utf-8"]),
        ("a.csv", b"t,r\n1,2\n3\n", Reading(), ["a.csv", "unreadable", "Expected 2 columns, got 1"]),
        ("a.csv.gz", gzip.compress(b"t,r\n1,2\n" * 99, mtime=0)[:-9], Reading(), ["a.csv.gz", "unreadable"]),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, reading: Reading, words: list[str]
):
    with pytest.raises(InputError) as refused:
        read_frame(written(tmp_path, content, name), reading=reading)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "encoding: found 'klingon', expected one that Python knows"),
        ({"decimal": "!"}, "decimal: found '!', expected '.' or ','"),
        ({"separator": ";;"}, "separator: found ';;', expected a single character"),
        ({"separator": ""}, "separator: found '', expected a single character"),
    ],
)
def test_what_no_file_can_be_written_with_is_refused_before_any_file_is_read(options: dict, message: str):
    with pytest.raises(InputError, match=message):
        Reading(**options)


def test_a_type_is_found_from_all_rows(tmp_path: Path):
    # A type that the first megabytes suggest may be wrong for the last row.
    values = ["1"] * 600_000 + ["2.5", "M"]
    whole = written(tmp_path, "a,b,c\n" + "".join(f"{v},,{k}\n" for k, v in enumerate(values)))
    parts = open_parts(whole)
    assert [str(field.type) for field in parts.schema] == ["string", "null", "int64"]
    assert parts.rows == 600_002
    assert [group.rows for group in parts.groups] == [GROUP] * 9 + [600_002 - 9 * GROUP]
    tail = list(parts.share(9, 10).pieces(1000))
    assert tail[-1].table["a"][-1].as_py() == "M"
    assert tail[0].start == tail[0].before == tail[0].table["c"][0].as_py() == 9 * GROUP
