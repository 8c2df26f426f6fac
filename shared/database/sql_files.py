"""Statements that stand in `.sql` files beside the use case that runs them."""

from pathlib import Path


def load(module_file: str, name: str) -> str:
    """The statement in file `name`, which stands in the folder of `module_file`.

    Called once, when the module is imported: `_REDEEM = sa.text(sql_files.load(__file__, "redeem.sql"))`. Parameters
    are written `:name`, as psql writes its variables, so that a file can be run by hand. A missing file raises OSError.
    """
    return Path(module_file).with_name(name).read_text(encoding="utf-8")
