"""Redemptions that operators report from their own tills: whoever takes a cheque first has it, here too."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.cheques import ending
from services.redeemer.redemptions.models import Redemption
from shared.database import engine
from shared.eventlog import log
from shared.eventlog.event_kinds import RedemptionReported
from shared.values import clock

_REASONS = {"redeemed": "already-redeemed", "pending": "not-yet-spendable"}

# The amount is the cheque's own value: a cheque is spent whole, and what the operator makes of it is reconciled.
_SPEND = sa.text("""
    WITH report AS (
        SELECT * FROM unnest(
            CAST(:reports AS uuid[]), CAST(:cheques AS uuid[]), CAST(:structures AS uuid[]), CAST(:contracts AS uuid[]),
            CAST(:times AS timestamptz[]), CAST(:days AS date[])
        ) AS input (id, cheque_id, structure_id, contract_id, redeemed_at, given_on)
    ),
    spent AS (
        UPDATE cheque SET ending = 'redeemed', redeemed_at = report.redeemed_at
        FROM report WHERE cheque.id = report.cheque_id AND cheque.state = 'spendable'
    )
    INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, contract_id,
                            given_on, redeemed_at, state)
    SELECT report.id, cheque_id, report.id, structure_id, programme, value_cents, 'operator', contract_id,
           given_on, report.redeemed_at, 'confirmed'
    FROM report JOIN cheque ON cheque.id = cheque_id JOIN spending_rules ON spending_rules.id = rules_id
    RETURNING id, programme, amount_cents
""")


def record(session: Session, reports: Sequence[RedemptionReported]) -> None:
    """Records reports in their order; their cheques must be here.

    A report that came before is ignored, one whose cheque is not spendable is published as contested.
    """
    states = ending.lock(session, {report.cheque_id for report in reports})
    ids = [report.report_id for report in reports]
    recorded = set(session.scalars(sa.select(Redemption.id).where(engine.among(Redemption.id, ids))))
    won: list[RedemptionReported] = []
    contested: list[tuple[object, Mapping[str, Any]]] = []
    for report in reports:
        if report.report_id in recorded:
            continue
        recorded.add(report.report_id)
        state = states[report.cheque_id]
        if state == "spendable":
            states[report.cheque_id] = "redeemed"
            won.append(report)
        else:
            body = {"report_id": report.report_id, "cheque_id": report.cheque_id}
            contested.append((report.report_id, {**body, "reason": _REASONS.get(state, state)}))
    _spend(session, won)
    log.append_many(session, "redemption.contested", contested)


def _spend(session: Session, reports: Sequence[RedemptionReported]) -> None:
    columns = {
        "reports": [report.report_id for report in reports],
        "cheques": [report.cheque_id for report in reports],
        "structures": [report.structure_id for report in reports],
        "contracts": [report.contract_id for report in reports],
        "times": [report.redeemed_at for report in reports],
        "days": [clock.day_of(report.redeemed_at) for report in reports],
    }
    made = {row.id: row for row in session.execute(_SPEND, columns)}
    entries = [(report.report_id, _payload(report, made[report.report_id])) for report in reports]
    log.append_many(session, "cheques.redeemed", entries)


def _payload(report: RedemptionReported, made: Any) -> dict[str, Any]:
    line = {"redemption_id": made.id, "cheque_id": report.cheque_id, "amount_cents": made.amount_cents}
    facts = {
        "presentation_id": made.id,
        "programme": made.programme,
        "via": "operator",
        "given_on": clock.day_of(report.redeemed_at),
    }
    return {**msgspec.structs.asdict(report), **facts, "redemptions": [line]}
