"""The reference by which an operator knows an order: made from what the order is about, so it is the same every time.

A bridge that was restored from a backup makes the orders again that it had made since, and the operator, which has done
them, must recognise them. So the id of a registration, a declaration or a reversal follows from its contract, its kind
and its cheque or redemption. A second order of the same (after a refusal, by a person) has a fresh one.
"""


def reference_sql(contract: str, kind: str, subject: str) -> str:
    """SQL of the id of a new order, a UUID of version 8 (RFC 9562), from SQL of its contract and of its subject, with
    the names of their tables.

    It begins as its subject does, by the time of that, so that those made together stand together in the index.
    """
    digest = f"md5(CAST({contract} AS text) || '{kind}' || CAST({subject} AS text))"
    made = (
        f"CAST(left(CAST({subject} AS text), 14) || '8' || substr({digest}, 1, 3) || '-a' || substr({digest}, 4, 3)"
        f" || '-' || substr({digest}, 7, 12) AS uuid)"
    )
    taken = f"EXISTS (SELECT FROM operator_order made WHERE made.order_id = {made})"
    return f"CASE WHEN {taken} THEN uuid7() ELSE {made} END"
