"""Lost cheques: an adviser reports each with the person at the desk, and hands over a new one a moment later."""

import time
from dataclasses import replace

from demo.acts.calls import Unexpected
from demo.acts.year import Bar, MadeGrant, Year
from shared.values import clock

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.05


def replace_lost(year: Year, bar: Bar) -> None:
    """Replaces some cheques of the year, and notes the seconds that each took."""
    valid = [grant for grant in year.grants if grant.valid_until >= clock.today()]
    held = [(grant, index) for grant in valid for index in range(len(grant.cheques))]
    lost = year.chance("lost").sample(held, year.world.share("lost", len(held)))
    bar.begin(len(lost))
    year.replaced_seconds = sorted(year.at_once(lambda cheque: _replace(year, *cheque), lost, bar))
    year.count("lost cheques replaced", len(lost))


def _replace(year: Year, grant: MadeGrant, index: int) -> float:
    """Reports one cheque lost and waits for the new one; gives the seconds from the one to the other."""
    begin = time.monotonic()
    body = {"cheque_ids": [grant.cheques[index].cheque_id], "cause": "lost", "reason": "carnet perdu"}
    key = f"lost {grant.cheques[index].cheque_id}"
    request = year.calls.post("issuer", "/v1/replacements", grant.adviser, body, key=key, expected=(202,))
    path = f"/v1/replacements/{request['replacement_id']}"
    while (shown := year.calls.get("issuer", path, grant.adviser))["pending"]:
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise Unexpected(f"a lost cheque was not replaced within {PATIENCE_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)
    [line] = shown["cheques"]
    if not line["new_cheque"]:
        raise Unexpected(f"a lost cheque was not replaced: {line['reason']}")
    grant.cheques[index] = replace(
        grant.cheques[index], cheque_id=line["new_cheque"]["cheque_id"], code=line["new_cheque"]["code"]
    )
    return time.monotonic() - begin
