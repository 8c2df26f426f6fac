"""The balances, in number and in cents of EUR: per contract now (law 7 as the bridge sees it), and of each day.

A day's balance is three-way, per programme: the register's is counted here, the redeemer is asked for its own, an
operator's is that of the last comparison with its statement. It is kept once a day, and again the same day where there
was news.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.operator_bridge.contracts import linking
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.models_reconciliation import DailyBalance
from shared.eventlog.peer_client import PeerRefusesToken, PeerUnavailable
from shared.observability.logs import logger
from shared.process.runtime import Runtime
from shared.values import clock

_MAX_DAYS = 366

_LINKS = sa.text("""
    SELECT contract_id, link.state, count(*) AS number, sum(value_cents) AS cents
    FROM link JOIN cheque USING (cheque_id) GROUP BY contract_id, link.state
""")
_REDEMPTIONS = sa.text("""
    SELECT contract_id, state, count(*) AS number, sum(amount_cents) AS cents
    FROM redemption GROUP BY contract_id, state
""")
_ORDERS = sa.text("""
    SELECT contract_id, state, count(*) AS number, 0 AS cents FROM operator_order GROUP BY contract_id, state
""")
_WITHOUT = sa.text("""
    SELECT programme, cheque.state, count(*) AS number, sum(value_cents) AS cents
    FROM cheque WHERE NOT EXISTS (SELECT FROM link WHERE link.cheque_id = cheque.cheque_id)
    GROUP BY programme, cheque.state ORDER BY programme, cheque.state
""")
STATES = ("open", "blocked", "redeemed", "cancelled", "expired")
"""What both the register and the redeemer can count."""
_OPEN = ("pending", "spendable")
"""The redeemer's states that the register does not distinguish."""

# Counting a country's cheques takes longer than other statements may.
_COUNTING = sa.text("SET LOCAL statement_timeout = '10min'")
_REGISTER = sa.text("""
    SELECT programme, CASE WHEN state = 'open' AND blocked THEN 'blocked' ELSE state END AS state,
           count(*) AS number, sum(value_cents)::bigint AS cents
    FROM cheque GROUP BY 1, 2
""")
_OPERATORS = sa.text("""
    SELECT DISTINCT ON (contract_id) contract.programme, contract.code AS contract, contract.operator,
           contract.state, run.started_at AS taken_at, run.ours, run.theirs, run.moving, run.differences
    FROM contract JOIN reconciliation run USING (contract_id)
    WHERE run.state = 'done' AND run.compared
    ORDER BY contract_id, run.finished_at DESC
""")
# Kept too early or without the redeemer, it is kept again; while a run of the night is on its way, it waits.
_IS_DUE = sa.text("""
    SELECT NOT EXISTS (SELECT FROM reconciliation WHERE state IN ('requested', 'running')
                       AND requested_at > clock_timestamp() - interval '3 hours')
       AND NOT EXISTS (SELECT FROM daily_balance WHERE day = :day AND redeemer IS NOT NULL AND kept_at >
                       (SELECT coalesce(max(finished_at), '-infinity') FROM reconciliation))
""")
# One line per day, programme, party and state: what a spreadsheet can add up.
DAYS_CSV = """
    SELECT day, programme, party.name AS party, party.contract, entry.key AS state,
           (entry.value ->> 'number')::bigint AS number, (entry.value ->> 'cents')::bigint AS cents, agrees, kept_at
    FROM daily_balance CROSS JOIN LATERAL (
        SELECT 'register' AS name, NULL AS contract, register AS sums
        UNION ALL SELECT 'redeemer', NULL, redeemer WHERE redeemer IS NOT NULL
        UNION ALL SELECT comparison ->> 'operator', comparison ->> 'contract', comparison -> 'theirs'
                  FROM jsonb_array_elements(operators) comparison
    ) party CROSS JOIN LATERAL jsonb_each(party.sums) entry
    WHERE (CAST(:since AS date) IS NULL OR day >= :since) AND (CAST(:until AS date) IS NULL OR day <= :until)
      AND (CAST(:programme AS text) IS NULL OR programme = :programme)
    ORDER BY day, programme, party.name, party.contract, entry.key
"""


def current(session: Session) -> dict[str, Any]:
    """Per contract its links, redemptions and orders by state; and per programme the cheques that no operator has."""
    links, redemptions, orders = (session.execute(query).all() for query in (_LINKS, _REDEMPTIONS, _ORDERS))
    contracts = session.scalars(sa.select(Contract).order_by(Contract.contract_id))
    return {
        "contracts": [
            {name: getattr(contract, name) for name in ("contract_id", "code", "operator", "programme", "state")}
            | {
                "links": _of(contract, links),
                "redemptions": _of(contract, redemptions),
                "orders": _of(contract, orders),
            }
            for contract in contracts
        ],
        "redemptions_without_contract": [row for row in redemptions if row.contract_id is None],
        "cheques_without_link": session.execute(_WITHOUT).all(),
        "cheques_without_operator": linking.orphans(session),
    }


def browse_days(
    session: Session, since: date | None, until: date | None, programme: str | None
) -> Sequence[DailyBalance]:
    """The last 366 balances of these days (both included) and this programme, oldest first."""
    chosen = sa.select(DailyBalance).order_by(DailyBalance.day.desc(), DailyBalance.programme)
    if since:
        chosen = chosen.where(DailyBalance.day >= since)
    if until:
        chosen = chosen.where(DailyBalance.day <= until)
    if programme is not None:
        chosen = chosen.where(DailyBalance.programme == programme)
    return session.scalars(chosen.limit(_MAX_DAYS)).all()[::-1]


def keep_if_due(runtime: Runtime) -> bool:
    """Keeps the balance of today where it is not kept, or where a comparison has ended since."""
    day = clock.today()
    with runtime.transaction() as session:
        is_due = session.execute(_IS_DUE, {"day": day}).scalar_one()
    if is_due:
        keep(runtime, day)
    return bool(is_due)


def keep(runtime: Runtime, day: date) -> None:
    """Stores the present balance as that of a day, without the redeemer's part if it does not answer."""
    redeemer = _redeemer(runtime)
    with runtime.transaction() as session:
        session.execute(_COUNTING)
        rows = list(_rows(session, day, redeemer))
        if rows:
            insert = pg.insert(DailyBalance)
            changes = {name: insert.excluded[name] for name in rows[0]}
            session.execute(insert.on_conflict_do_update(index_elements=["day", "programme"], set_=changes), rows)
    different = [row["programme"] for row in rows if row["agrees"] is False]
    if different:
        logger().warning("balances_differ", day=day.isoformat(), programmes=different)


def _rows(session: Session, day: date, redeemer: Mapping[str, Any] | None) -> Iterable[dict[str, Any]]:
    register: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in session.execute(_REGISTER):
        register[row.programme][row.state] = {"number": row.number, "cents": row.cents}
    operators: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for found in session.execute(_OPERATORS).mappings():
        comparison = {**found, "taken_at": found["taken_at"].isoformat()}
        operators[comparison.pop("programme")].append(comparison)
    for programme in sorted({*register, *(redeemer or {}), *operators}):
        ours, comparisons = _sums(register[programme]), operators[programme]
        theirs = None if redeemer is None else redeemer.get(programme, _sums({}))
        differ = any(comparison["differences"] for comparison in comparisons)
        agrees = None if theirs is None else ours == theirs and not differ
        yield {
            "day": day, "programme": programme, "kept_at": clock.now(), "register": ours, "redeemer": theirs,
            "operators": comparisons, "agrees": agrees,
        }  # fmt: skip


def _redeemer(runtime: Runtime) -> dict[str, dict[str, Any]] | None:
    """By programme what the redeemer has, None where it does not answer."""
    try:
        answer = runtime.peers["redeemer"].get("/v1/balances")
    except PeerRefusesToken as error:
        logger().error("peer_refuses_token", publisher="redeemer", error=str(error))
        return None
    except PeerUnavailable as error:
        logger().warning("peer_unavailable", publisher="redeemer", error=str(error))
        return None
    return {
        balance["programme"]: _sums({**balance["states"], "open": _added(balance["states"], _OPEN)})
        for balance in answer["programmes"]
    }


def _added(states: Mapping[str, Mapping[str, int]], names: Iterable[str]) -> dict[str, int]:
    chosen = [states[name] for name in names if name in states]
    return {"number": sum(amount["number"] for amount in chosen), "cents": sum(amount["cents"] for amount in chosen)}


def _sums(by_state: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Every state, empty ones included, and all together."""
    states = {state: dict(by_state.get(state, {"number": 0, "cents": 0})) for state in STATES}
    return {"issued": _added(states, STATES), **states}


def _of(contract: Contract, rows: Iterable[Any]) -> list[Any]:
    return sorted((row for row in rows if row.contract_id == contract.contract_id), key=lambda row: row.state)
