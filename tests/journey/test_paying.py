"""From the workshop to the money: a statement, the accountant's payment, and what each of the three makes of it."""

import sqlalchemy as sa

from shared.values import clock
from tests.journey.conftest import World
from tests.journey.test_whole_path import assert_balanced

LAST_MONTH = clock.add_months(clock.today().replace(day=1), -1)


def presented_last_month(owner: sa.Engine) -> None:
    """As time cannot be made to pass, the redemptions are moved back."""
    with owner.begin() as connection:
        moving = sa.text("UPDATE redeemer.redemption SET redeemed_at = :day")
        connection.execute(moving, {"day": LAST_MONTH.replace(day=15)})


def test_what_the_accountant_paid_is_paid_to_all_three_services(world: World, owner: sa.Engine) -> None:
    cheques = world.grant()["cheques"]
    world.settle()
    world.present(*(cheque["code"] for cheque in cheques[:3]))
    world.settle()
    presented_last_month(owner)

    asked = {"month": f"{LAST_MONTH:%Y-%m}"}
    [statement] = world.ask("redeemer", "POST", "/v1/statements", "finance", asked)["statements"]
    assert (statement["due_cents"], statement["confirmed_cents"], statement["paid_cents"]) == (3000, 3000, 0)
    content = f"statement;amount;paid_on;reference\n{statement['number']};30,00;{clock.today()};Mandat 417\n"
    report = world.ask("redeemer", "POST", "/v1/payments/imports", "finance", content)
    world.settle()

    assert report["settled"] == 3
    with owner.connect() as connection:
        states = connection.execute(
            sa.text("""
                SELECT ours.state, theirs.state, ours.payment_reference FROM redeemer.redemption ours
                JOIN operator_bridge.redemption theirs ON theirs.redemption_id = ours.id
            """)
        ).all()
        paid = connection.execute(sa.text("SELECT kind, sum(cents) FROM issuer.journal_entry GROUP BY kind")).all()
    assert [tuple(row) for row in states] == [("paid", "paid", "Mandat 417")] * 3
    assert {row[0]: int(row[1]) for row in paid} == {"engaged": 5000, "used": 3000, "paid": 3000}
    assert_balanced(world)
