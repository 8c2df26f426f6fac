"""The one door in: whatever an operator says, by message, statement or file, is applied here and nowhere else.

By set, and idempotent by the operator's own references: the same word twice, late or out of order changes nothing.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.interface import Event, Paid, Receipt, Redeemed
from services.operator_bridge.orders import creating, deriving, outcomes
from services.operator_bridge.register import discrepancies
from services.operator_bridge.register.transitions import LINK, REDEMPTION, before
from shared.eventlog import log

_REPORT = sa.text("""
    INSERT INTO report (report_id, contract_id, reference, cheque_id, structure_id, amount_cents, redeemed_at)
    SELECT given.report_id, link.contract_id, given.reference, given.cheque_id, given.structure_id,
           given.amount_cents, given.redeemed_at
    FROM unnest(CAST(:report_ids AS uuid[]), CAST(:references AS text[]), CAST(:cheques AS uuid[]),
                CAST(:structures AS uuid[]), CAST(:amounts AS integer[]), CAST(:times AS timestamptz[]))
         AS given (report_id, reference, cheque_id, structure_id, amount_cents, redeemed_at)
    JOIN LATERAL (
        SELECT link.contract_id FROM link JOIN contract USING (contract_id)
        WHERE link.cheque_id = given.cheque_id AND contract.operator = :operator AND link.state <> 'refused'
        ORDER BY contract.live_at DESC NULLS LAST LIMIT 1
    ) link ON true
    ON CONFLICT DO NOTHING
    RETURNING report_id, contract_id, cheque_id, structure_id, amount_cents, redeemed_at
""")

_KNOWN = sa.text("""
    SELECT report.report_id, cheque.value_cents FROM report LEFT JOIN cheque USING (cheque_id)
    WHERE report_id = ANY(:report_ids)
""")

_STRUCTURES = sa.text("SELECT DISTINCT structure_id FROM affiliation WHERE structure_id = ANY(:structures)")

_PAY = sa.text("""
    INSERT INTO payment (operator, reference, payment_reference, paid_on)
    SELECT :operator, reference, :payment_reference, :paid_on FROM unnest(CAST(:references AS text[])) AS reference
    ON CONFLICT DO NOTHING
""")

# A payment finds its redemption by what the operator knows it by, whichever of the two was known first.
_MATCH = sa.text("""
    UPDATE payment SET redemption_id = redemption.redemption_id
    FROM redemption JOIN contract USING (contract_id)
    WHERE payment.redemption_id IS NULL AND payment.operator = contract.operator
      AND payment.reference = redemption.reference
    RETURNING payment.operator, payment.reference, payment.payment_reference, payment.paid_on,
              redemption.redemption_id, redemption.contract_id, redemption.cheque_id, redemption.state,
              redemption.reference AS declared_as
""")

# What an operator pays under a reference that the redemption had before: it was declared again, to it or to another.
_FORMER = sa.text("""
    UPDATE payment SET redemption_id = redemption.redemption_id
    FROM operator_order o JOIN contract USING (contract_id) JOIN redemption USING (redemption_id)
    WHERE payment.redemption_id IS NULL AND payment.operator = contract.operator AND o.kind = 'declare'
      AND o.order_id = CASE WHEN payment.reference ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                            THEN CAST(payment.reference AS uuid) END
    RETURNING payment.operator, payment.reference, payment.payment_reference, payment.paid_on,
              redemption.redemption_id, contract.contract_id, redemption.cheque_id, redemption.state,
              redemption.reference AS declared_as, redemption.contract_id = contract.contract_id AS still_theirs
""")

# What a dead operator pays after all of what its own till took, once it was declared to another.
_LATE = sa.text("""
    UPDATE payment SET redemption_id = redemption.redemption_id
    FROM claim JOIN switch USING (switch_id)
    JOIN contract ON contract.contract_id = switch.from_contract_id
    JOIN redemption ON redemption.redemption_id = claim.redemption_id
    WHERE payment.redemption_id IS NULL AND payment.operator = contract.operator
      AND payment.reference = claim.reference
    RETURNING payment.operator, payment.reference, payment.payment_reference, payment.paid_on,
              redemption.redemption_id, contract.contract_id, claim.cheque_id, redemption.state,
              redemption.reference AS declared_as
""")

_PAID = sa.text("""
    SELECT payment.operator, payment.reference, payment.payment_reference, payment.paid_on,
           redemption_id, redemption.contract_id, redemption.cheque_id, redemption.state,
           redemption.reference AS declared_as
    FROM payment JOIN redemption USING (redemption_id) WHERE redemption_id = ANY(:redemptions)
""")

_MARK_PAID = sa.text("""
    UPDATE redemption SET state = 'paid' WHERE redemption_id = ANY(:redemptions) AND state = ANY(:before)
    RETURNING redemption_id
""")

_CLOSE_LINKS = sa.text("""
    UPDATE link SET state = 'closed', changed_at = clock_timestamp()
    FROM unnest(CAST(:contracts AS uuid[]), CAST(:cheques AS uuid[])) AS paid (contract_id, cheque_id)
    WHERE link.contract_id = paid.contract_id AND link.cheque_id = paid.cheque_id AND link.state = ANY(:before)
""")


def apply(session: Session, operator: str, said: Iterable[Event]) -> None:
    """Applies what an operator said, in one transaction of the caller's."""
    heard = list(said)
    paid = [event for event in heard if isinstance(event, Paid)]
    if paid:
        creating.lock_orders(session)
    outcomes.settle(session, operator, [event for event in heard if isinstance(event, Receipt)])
    _report(session, operator, [event for event in heard if isinstance(event, Redeemed)])
    _pay(session, operator, paid)


def report_id(operator: str, reference: str) -> UUID:
    """The id of an operator's report: the same whenever and by whatever way it comes."""
    return uuid5(NAMESPACE_URL, f"souche:operator:{operator}:{reference}")


def match_payments(session: Session) -> None:
    """Marks as paid the redemptions for which there is a payment, and tells of it per payment.

    What was declared to another operator in the meantime is about to be paid twice: a person has to look. So too where
    an operator that was taken for dead pays what is claimed from it: that is paid, and the claim is too high.
    """
    matched = list(session.execute(_MATCH).mappings())
    former = session.execute(_FORMER).mappings().all()
    matched += [row for row in former if row["still_theirs"]]
    given = {"redemptions": [row["redemption_id"] for row in matched], "before": before(REDEMPTION, "paid")}
    marked = set(session.scalars(_MARK_PAID, given))
    _tell_paid(session, [row for row in matched if row["redemption_id"] in marked])
    _dispute(session, [row for row in matched if row["redemption_id"] not in marked or row["state"] == "stranded"])
    _dispute(session, [row for row in former if not row["still_theirs"]])
    _dispute(session, session.execute(_LATE).mappings().all())


def dispute_payments(session: Session, reversed_ids: Sequence[UUID]) -> None:
    """Records the payments of redemptions that were taken back while the word of the payment was on its way."""
    _dispute(session, session.execute(_PAID, {"redemptions": list(reversed_ids)}).mappings().all())


def _dispute(session: Session, paid: Sequence[sa.RowMapping]) -> None:
    differences = [
        discrepancies.found(
            row["operator"], "paid_not_redeemed", row["reference"],
            contract_id=row["contract_id"], cheque_id=row["cheque_id"],
            ours={"redemption_id": str(row["redemption_id"]), "state": row["state"], "reference": row["declared_as"]},
            theirs={
                "payment_reference": row["payment_reference"], "paid_on": row["paid_on"].isoformat(),
                "reference": row["reference"],
            },
        )
        for row in paid
    ]  # fmt: skip
    discrepancies.record(session, differences)


def _tell_paid(session: Session, paid: Sequence[sa.RowMapping]) -> None:
    if not paid:
        return
    links = {"contracts": [row["contract_id"] for row in paid], "cheques": [row["cheque_id"] for row in paid]}
    session.execute(_CLOSE_LINKS, {**links, "before": before(LINK, "closed")})
    payments: dict[tuple[UUID, str, date], list[UUID]] = {}
    for row in paid:
        payment = (row["contract_id"], row["payment_reference"], row["paid_on"])
        payments.setdefault(payment, []).append(row["redemption_id"])
    for (contract_id, reference, paid_on), ids in payments.items():
        body = {"contract_id": contract_id, "payment_reference": reference, "paid_on": paid_on, "redemption_ids": ids}
        log.append(session, "redemptions.paid", contract_id, body)


def _pay(session: Session, operator: str, payments: Sequence[Paid]) -> None:
    for payment in payments:
        given = {"payment_reference": payment.payment_reference, "paid_on": payment.paid_on}
        session.execute(_PAY, {"operator": operator, "references": list(payment.redemptions), **given})
    if payments:
        match_payments(session)


def _report(session: Session, operator: str, redeemed: Iterable[Redeemed]) -> None:
    said = {report_id(operator, each.reference): each for each in redeemed}
    if not said:
        return
    fresh = session.execute(_REPORT, {"operator": operator, **_columns(said)}).mappings().all()
    # One whose report came later than the redeemer's word: this database was restored to before it.
    deriving.recognise(session, [row["report_id"] for row in fresh])
    log.append_many(
        session, "redemption.reported", [(row["report_id"], dict(row)) for row in fresh if row["amount_cents"] > 0]
    )
    known = session.execute(_KNOWN, {"report_ids": list(said)})
    values = {row.report_id: row.value_cents for row in known}
    structures = set(session.scalars(_STRUCTURES, {"structures": [each.structure_id for each in said.values()]}))
    discrepancies.record(session, list(_differences(operator, said, values, structures)))


def _columns(said: Mapping[UUID, Redeemed]) -> dict[str, list[Any]]:
    return {
        "report_ids": list(said),
        "references": [each.reference for each in said.values()],
        "cheques": [each.cheque_id for each in said.values()],
        "structures": [each.structure_id for each in said.values()],
        "amounts": [each.amount_cents for each in said.values()],
        "times": [each.redeemed_at for each in said.values()],
    }


def _differences(
    operator: str, said: Mapping[UUID, Redeemed], values: Mapping[UUID, int], structures: Container[UUID]
) -> Iterator[dict[str, Any]]:
    """Reports of cheques that this operator was never given, of amounts that are not the cheque's, of strangers.

    A cheque that a stranger took is spent all the same: whether that is paid for, a person has to say.
    """
    for identifier, each in said.items():
        value, stranger = values.get(identifier), each.structure_id not in structures
        if value != each.amount_cents or stranger:
            theirs = {"amount_cents": each.amount_cents, "structure_id": str(each.structure_id)}
            ours = {"value_cents": value} | ({"structure_id": None} if stranger else {})
            yield discrepancies.found(
                operator, "unknown_here" if value is None or stranger else "amount_differs", each.reference,
                cheque_id=each.cheque_id, ours=ours, theirs=theirs,
            )  # fmt: skip
