"""What is looked up in large tables is found by an index."""

from typing import Any

import pytest
import sqlalchemy as sa

from tests.issuer.office import Office

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def plans(office: Office, path: str) -> str:
    """The plans of the statements that a GET of this path runs, where tables are too large to be read whole."""
    statements: list[tuple[str, Any]] = []

    @sa.event.listens_for(office.service.runtime.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    office.made(office.get(path), 200)
    sa.event.remove(office.service.runtime.engine, "before_cursor_execute", note)
    reads = [pair for pair in statements if pair[0].startswith("SELECT")]
    with office.service.runtime.engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        rows = [connection.exec_driver_sql(f"EXPLAIN {read}", values).scalars() for read, values in reads]
        return "\n".join(line for lines in rows for line in lines)


@pytest.mark.parametrize(
    ("path", "index"),
    [
        ("/v1/booklets?number=099A-8057", "cheque_grant_number_idx"),
        (f"/v1/booklets?number=099A-8057&after={_ID}", "cheque_grant_number_idx"),
        (f"/v1/notices?subject_id={_ID}", "notice_subject_id_idx"),
    ],
)
def test_a_lookup_reads_only_the_index_made_for_it(office: Office, path: str, index: str) -> None:
    found = plans(office, path)
    assert f"using {index}" in found or f"Bitmap Index Scan on {index}" in found, found
