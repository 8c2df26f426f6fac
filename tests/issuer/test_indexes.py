"""What is looked up in large tables is found by an index."""

from typing import Any

import pytest
import sqlalchemy as sa

from tests.issuer.office import Office

_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


# Where tables are small any plan will do, so they are filled; nothing of it is committed.
FILL = """
    SET LOCAL search_path = issuer;
    SET LOCAL session_replication_role = replica;
    INSERT INTO cheque_grant
    SELECT copy.* FROM cheque_grant one, generate_series(1, 20000) number, jsonb_populate_record(
        one, jsonb_build_object('id', md5(number::text)::uuid, 'reference', NULL)
    ) copy WHERE one.id = (SELECT min(id::text)::uuid FROM cheque_grant);
    INSERT INTO notice (id, kind, key, subject_id, body)
    SELECT gen_random_uuid(), 'filling', number, gen_random_uuid(), '{}' FROM generate_series(1, 20000) number;
    ANALYZE cheque_grant;
    ANALYZE notice;
"""


def plans(office: Office, owner: sa.Engine, path: str) -> str:
    """The plans of the statements that a GET of this path runs, where tables are too large to be read whole."""
    office.envelope(100_000)
    office.grant()
    statements: list[tuple[str, Any]] = []

    @sa.event.listens_for(office.service.runtime.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    office.made(office.get(path), 200)
    sa.event.remove(office.service.runtime.engine, "before_cursor_execute", note)
    reads = [pair for pair in statements if pair[0].startswith("SELECT")]
    with owner.connect() as connection:
        connection.exec_driver_sql(FILL)
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
def test_a_lookup_reads_only_the_index_made_for_it(office: Office, owner: sa.Engine, path: str, index: str) -> None:
    found = plans(office, owner, path)
    assert f"using {index}" in found or f"Bitmap Index Scan on {index}" in found, found
