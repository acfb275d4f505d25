"""What stands in a file never steers the terminal of whoever reads about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gallon.cli.app import main

EVIL = "\x1b]0;pwned\x07\x1b[31mcol\x9b2J\r"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["choose", "{folder}/table.csv", "--number", "1", "--out", "{folder}/out.csv"], "\\x1b]0;pwned\\x07"),
        (["teach", "{folder}/table.csv", "--target", "y"], "\\x1b]0;pwned\\x07"),
        (["teach", "{folder}/labels.csv", "--target", "y"], "\\x1b]0;pwned\\x07"),
        (["teach", "{folder}/labels.csv", "--target", "y", "--smiles-column", "z"], "\\x1b]0;pwned\\x07"),
        (["annotate", "{folder}/\x1b[2Jmissing.smi"], "\\x1b[2Jmissing.smi"),
        (["annotate", "{folder}/\x1b[2J"], "\\x1b[2J"),
        (["choose", "{folder}/labels.csv", "--number", "1", "--out", "{folder}/\x1b[2J.smi"], "\\x1b[2J.smi"),
        (["annotate", "{folder}/labels.csv", "--config", "{folder}/evil.yaml"], "\\x1b[31m"),
        (["screen", "{folder}/labels.csv", "--student", "{folder}/\x1b[2J", "--out", "{folder}/a.csv"], "\\x1b[2J"),
    ],
)
def test_control_characters_are_escaped_in_every_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    told: str,
) -> None:
    (tmp_path / "table.csv").write_text(f'id,"{EVIL}"\n1,CCO\n')
    (tmp_path / "labels.csv").write_text(f'smiles,y,"{EVIL}"\nCCO,"{EVIL}",1\nCCN,2,1\n')
    (tmp_path / "evil.yaml").write_text('"\\e[31mprompt": describe\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gallon", *(argument.format(folder=tmp_path) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert told in err
    assert all(char.isprintable() for char in err.removesuffix("\n"))
