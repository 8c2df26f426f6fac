"""Applying what operators report, by message, statement or file: here and nowhere else.

By set, and idempotent by the operator's own references: the same event twice, late or out of order changes nothing.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.interface import Event, Paid, Receipt, Redeemed
from services.operator_bridge.orders import consequences, creating, deriving, outcomes
from services.operator_bridge.register import discrepancies
from services.operator_bridge.register.transitions import REDEMPTION
from shared.eventlog import log

_REPORTED = ("reference", "cheque_id", "structure_id", "amount_cents", "redeemed_at")
_REPORT = sa.text("""
    INSERT INTO report (report_id, contract_id, reference, cheque_id, structure_id, amount_cents, redeemed_at)
    SELECT input.report_id, link.contract_id, input.reference, input.cheque_id, input.structure_id,
           input.amount_cents, input.redeemed_at
    FROM unnest(CAST(:report_ids AS uuid[]), CAST(:reference AS text[]), CAST(:cheque_id AS uuid[]),
                CAST(:structure_id AS uuid[]), CAST(:amount_cents AS integer[]), CAST(:redeemed_at AS timestamptz[]))
         AS input (report_id, reference, cheque_id, structure_id, amount_cents, redeemed_at)
    JOIN LATERAL (
        SELECT link.contract_id FROM link JOIN contract USING (contract_id)
        WHERE link.cheque_id = input.cheque_id AND contract.operator = :operator AND link.state <> 'refused'
        ORDER BY contract.live_at DESC NULLS LAST LIMIT 1
    ) link ON true
    ON CONFLICT DO NOTHING
    RETURNING report_id, contract_id, cheque_id, structure_id, amount_cents, redeemed_at
""")

_VALUES = sa.text("""
    SELECT report.report_id, cheque.value_cents FROM report LEFT JOIN cheque USING (cheque_id)
    WHERE report_id = ANY(:report_ids)
""")

_STRUCTURES = sa.text("SELECT DISTINCT structure_id FROM affiliation WHERE structure_id = ANY(:structures)")

_PAY = sa.text("""
    INSERT INTO payment (operator, reference, payment_reference, paid_on)
    SELECT :operator, reference, :payment_reference, :paid_on FROM unnest(CAST(:references AS text[])) AS reference
    ON CONFLICT DO NOTHING
""")

# A payment finds its redemption by the operator's reference, whichever of the two came first.
_MATCH = sa.text("""
    UPDATE payment SET redemption_id = redemption.redemption_id
    FROM redemption JOIN contract USING (contract_id)
    WHERE payment.redemption_id IS NULL AND payment.operator = contract.operator
      AND payment.reference = redemption.reference
    RETURNING payment.*, redemption.contract_id, redemption.cheque_id, redemption.state,
              redemption.reference AS declared_as
""")

# What an operator pays under a reference that the redemption had before: it was declared again, to it or to another.
_FORMER = sa.text("""
    UPDATE payment SET redemption_id = redemption.redemption_id
    FROM operator_order o JOIN contract USING (contract_id) JOIN redemption USING (redemption_id)
    WHERE payment.redemption_id IS NULL AND payment.operator = contract.operator AND o.kind = 'declare'
      AND o.order_id = CASE WHEN payment.reference ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                            THEN CAST(payment.reference AS uuid) END
    RETURNING payment.*, contract.contract_id, redemption.cheque_id, redemption.state,
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
    RETURNING payment.*, contract.contract_id, redemption.cheque_id, redemption.state,
              redemption.reference AS declared_as
""")

_PAID = sa.text("""
    SELECT payment.*, redemption.contract_id, redemption.cheque_id, redemption.state,
           redemption.reference AS declared_as
    FROM payment JOIN redemption USING (redemption_id) WHERE redemption_id = ANY(:redemptions)
""")

_MARK_PAID = sa.text("""
    UPDATE redemption SET state = 'paid' WHERE redemption_id = ANY(:redemptions) AND state = ANY(:before)
    RETURNING redemption_id
""")


def apply(session: Session, operator: str, events: Iterable[Event]) -> None:
    """Applies events of an operator in the caller's transaction."""
    events = list(events)
    paid = [event for event in events if isinstance(event, Paid)]
    if paid:
        creating.lock_orders(session)
    outcomes.settle(session, operator, [event for event in events if isinstance(event, Receipt)])
    _report(session, operator, [event for event in events if isinstance(event, Redeemed)])
    _pay(session, operator, paid)


def report_id(operator: str, reference: str) -> UUID:
    """The id of an operator's report: the same whenever and by whatever way it comes."""
    return uuid5(NAMESPACE_URL, f"souche:operator:{operator}:{reference}")


def match_payments(session: Session) -> None:
    """Marks as paid the redemptions for which there is a payment, and publishes an event per payment.

    What was declared to another operator in the meantime is about to be paid twice: a person has to look. So too where
    an operator that was taken for dead pays what is claimed from it: that is paid, and the claim is too high.
    """
    matched = list(session.execute(_MATCH).mappings())
    former = session.execute(_FORMER).mappings().all()
    matched += [row for row in former if row["still_theirs"]]
    params = {"redemptions": [row["redemption_id"] for row in matched], "before": REDEMPTION.before("paid")}
    marked = set(session.scalars(_MARK_PAID, params))
    _publish_paid(session, [row for row in matched if row["redemption_id"] in marked])
    _dispute(session, [row for row in matched if row["redemption_id"] not in marked or row["state"] == "stranded"])
    _dispute(session, [row for row in former if not row["still_theirs"]])
    _dispute(session, session.execute(_LATE).mappings().all())


def dispute_payments(session: Session, reversed_ids: Sequence[UUID]) -> None:
    """Records the payments of redemptions that were taken back while the report of the payment was on its way."""
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


def _publish_paid(session: Session, paid: Sequence[sa.RowMapping]) -> None:
    if not paid:
        return
    consequences.move_links(session, "closed", paid)
    payments: dict[tuple[UUID, str, date], list[UUID]] = {}
    for row in paid:
        payment = (row["contract_id"], row["payment_reference"], row["paid_on"])
        payments.setdefault(payment, []).append(row["redemption_id"])
    for (contract_id, reference, paid_on), ids in payments.items():
        body = {"contract_id": contract_id, "payment_reference": reference, "paid_on": paid_on, "redemption_ids": ids}
        log.append(session, "redemptions.paid", contract_id, body)


def _pay(session: Session, operator: str, payments: Sequence[Paid]) -> None:
    for payment in payments:
        params = {"payment_reference": payment.payment_reference, "paid_on": payment.paid_on}
        session.execute(_PAY, {"operator": operator, "references": list(payment.redemptions), **params})
    if payments:
        match_payments(session)


def _report(session: Session, operator: str, redeemed: Iterable[Redeemed]) -> None:
    reports = {report_id(operator, redemption.reference): redemption for redemption in redeemed}
    if not reports:
        return
    columns = {name: [getattr(redemption, name) for redemption in reports.values()] for name in _REPORTED}
    params = {"operator": operator, "report_ids": list(reports), **columns}
    fresh = session.execute(_REPORT, params).mappings().all()
    # Where the report comes after the redeemer's event, this database was restored to before the report.
    deriving.recognise(session, [row["report_id"] for row in fresh])
    log.append_many(
        session, "redemption.reported", [(row["report_id"], dict(row)) for row in fresh if row["amount_cents"] > 0]
    )
    found = session.execute(_VALUES, {"report_ids": list(reports)})
    values = {row.report_id: row.value_cents for row in found}
    structures = set(session.scalars(_STRUCTURES, {"structures": columns["structure_id"]}))
    discrepancies.record(session, list(_differences(operator, reports, values, structures)))


def _differences(
    operator: str, reports: Mapping[UUID, Redeemed], values: Mapping[UUID, int], structures: Container[UUID]
) -> Iterator[dict[str, Any]]:
    """Differences: cheques that this operator never had, amounts that are not the cheque's, unknown structures.

    A cheque that an unknown structure took is spent all the same: a person decides whether it is paid.
    """
    for identifier, redemption in reports.items():
        value, stranger = values.get(identifier), redemption.structure_id not in structures
        if value != redemption.amount_cents or stranger:
            theirs = {"amount_cents": redemption.amount_cents, "structure_id": str(redemption.structure_id)}
            ours = {"value_cents": value} | ({"structure_id": None} if stranger else {})
            yield discrepancies.found(
                operator, "unknown_here" if value is None or stranger else "amount_differs",
                redemption.reference, cheque_id=redemption.cheque_id, ours=ours, theirs=theirs,
            )  # fmt: skip
