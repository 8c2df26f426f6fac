"""Statements from files."""

from pathlib import Path

import pytest

from shared.database import sql_files


def test_a_statement_is_read_from_the_folder_of_its_module(tmp_path: Path) -> None:
    (tmp_path / "redeem.sql").write_text("SELECT 'chèque'\n", encoding="utf-8")
    assert sql_files.load(str(tmp_path / "redeeming.py"), "redeem.sql") == "SELECT 'chèque'\n"


def test_a_missing_file_stops_the_import() -> None:
    with pytest.raises(FileNotFoundError):
        sql_files.load(__file__, "missing.sql")
