"""Records of SD files: what is kept of them, and what their fields say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.library.sdf import fields, mol_block, sdf_records, title, with_fields

BLOCK = "ethanol\n  made\n\n  3  2\nM  END\n"


def record(below: str, end: str = "\n") -> list[bytes]:
    return (BLOCK + below).replace("\n", end).encode().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("below", "found"),
    [
        (">  <ID>\n1.50\n\n> 7 <IC50 <nM>> (x)\n\n> DT12\na\n\n", {"ID": "1.50", "IC50 <nM>": "", "DT12": "a"}),
        ("> <note>\nfirst\n  second\t\n\n", {"note": "first\n  second\t"}),
        ("> <activity>\n> 10 µM\n\n> <next>\nx", {"activity": "> 10 µM", "next": "x"}),
        ("> <a>\n1\n\n> <a>\n2\n\n", {"a": "1\n2"}),
        ("", {}),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_fields_are_read_as_they_stand(below: str, found: dict[str, str], end: str) -> None:
    lines = record(below, end)
    assert fields(lines) == found
    assert title(lines) == "ethanol"
    assert mol_block(lines, 1_000) == BLOCK.replace("\n", end).encode()
    assert with_fields(lines, None) == (BLOCK + below).replace("\n", end)


def test_fields_are_left_out_whole_and_the_others_stay_as_they_were() -> None:
    lines = record(">  <a>  (1)\n1\n2\n\n> <b>\n3\n\n>  <c>\n4\n\n")
    assert with_fields(lines, {"a", "c"}) == f"{BLOCK}>  <a>  (1)\n1\n2\n\n>  <c>\n4\n\n"
    assert with_fields(lines, ()) == BLOCK


def test_a_record_in_latin_1_becomes_utf_8() -> None:
    lines = "Äthanol\n\n\nM  END\n> <µ>\n5 °C\n\n".encode("latin-1").splitlines(keepends=True)
    assert (title(lines), fields(lines)) == ("Äthanol", {"µ": "5 °C"})
    assert with_fields(lines, None) == "Äthanol\n\n\nM  END\n> <µ>\n5 °C\n\n"


@given(
    st.lists(st.sampled_from([b"\n", b"$$$$\n", b"> <a>\n", b"> 1\n", b"M  END\n", b"x\n", b"\xff\r\n"]), max_size=12)
)
def test_any_lines_make_records_whose_lines_are_all_kept(lines: list[bytes]) -> None:
    ends = [line for line in lines if line.startswith(b"$$$$")]
    found = list(sdf_records(lines))
    kept = [line for each in found for line in each]
    assert [line for line in lines if line not in ends][: len(kept)] == kept
    assert len(ends) <= len(found) <= len(ends) + 1
    for each in found:
        assert with_fields(each, None) == with_fields(each, set(fields(each)))
