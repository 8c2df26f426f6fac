"""The year of the prescribers: grants one by one and in bulk, and the codes that are handed over."""

import time
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from demo.acts.calls import Identity, Unexpected
from demo.acts.year import ADMIN, Bar, Cheque, MadeGrant, Year
from demo.world.world import PlannedGrant

CALM = 40  # grants made one after the other, to measure the lag as a prescriber feels it
CALM_SECONDS = 0.06
IN_BULK = 0.75  # share of the grants
LIST = 250  # grants in one request
LISTS_AT_ONCE = 2
PRINTED = 100  # booklets in one file
BOOKLETS = "carnets.pdf"


def split(year: Year) -> tuple[list[PlannedGrant], list[PlannedGrant], list[PlannedGrant]]:
    """The grants of the calm hour, those made one by one, and those made in bulk."""
    planned = year.world.plan_grants()
    year.chance("split").shuffle(planned)
    singly = len(planned) - round(len(planned) * IN_BULK)
    calm = min(CALM, singly // 2)
    return planned[:calm], planned[calm:singly], planned[singly:]


def grant_calmly(year: Year, planned: Sequence[PlannedGrant], bar: Bar) -> float:
    """Makes a few grants one after the other, and returns how many seconds that took."""
    bar.begin(len(planned))
    begin = time.monotonic()
    for number, grant in enumerate(planned):
        year.grants.append(_grant(year, (f"calm {number}", grant)))
        bar.advance()
        time.sleep(CALM_SECONDS)
    year.count("grants made one by one", len(planned))
    return time.monotonic() - begin


def grant_singly(year: Year, planned: Sequence[PlannedGrant], bar: Bar) -> None:
    """Makes grants by an assessment each, several advisers at a time."""
    bar.begin(len(planned))
    named = [(f"grant {number}", grant) for number, grant in enumerate(planned)]
    year.grants += year.at_once(lambda item: _grant(year, item), named, bar)
    year.count("grants made one by one", len(planned))


def grant_in_bulk(year: Year, planned: Sequence[PlannedGrant], bar: Bar) -> None:
    """Makes the rest of the grants with lists, as the département does for all its prescribers."""
    bar.begin(len(planned))
    lists = [list(enumerate(planned))[at : at + LIST] for at in range(0, len(planned), LIST)]
    answers = year.at_once(lambda grants: _grant_list(year, grants), lists, bar, len, threads=LISTS_AT_ONCE)
    ids = [grant_id for answer in answers for grant_id in answer]
    made = {grant["grant_id"]: grant for grant in year.calls.pages("issuer", "/v1/grants", ADMIN, limit=500)}
    pairs = zip(planned, ids, strict=True)
    year.grants += [_made(grant, year.advisers[grant.adviser], made[grant_id]) for grant, grant_id in pairs]
    year.count("grants made in bulk", len(planned))


def print_codes(year: Year, bar: Bar) -> None:
    """Fetches the codes of the grants made in bulk, as one does to print booklets."""
    without = [grant for grant in year.grants if not grant.cheques]
    bar.begin(len(without))
    year.at_once(lambda grant: _print(year, grant), without, bar)
    year.count("grants", len(year.grants))
    year.count("cheques", sum(len(grant.cheques) for grant in year.grants))


def print_booklets(year: Year, folder: Path, bar: Bar) -> None:
    """Sets the booklets of some grants in one file, for a printer."""
    printed = [grant.grant_id for grant in year.grants[-PRINTED:]]
    bar.begin(1)
    begin = time.monotonic()
    size = year.calls.save("issuer", "/v1/booklets", ADMIN, {"grant_ids": printed}, folder / BOOKLETS)
    year.rates["booklets"] = len(printed) / (time.monotonic() - begin)
    year.count("booklets in one file for a printer", len(printed))
    year.count("… of so many kilobytes", size // 1000)
    bar.advance()


def _grant(year: Year, named: tuple[str, PlannedGrant]) -> MadeGrant:
    key, planned = named
    adviser = year.advisers[planned.adviser]
    answer = year.calls.post("issuer", "/v1/grants", adviser, _grant_request(year, planned), key=key)
    return _made(planned, adviser, answer)


def _grant_list(year: Year, numbered: Sequence[tuple[int, PlannedGrant]]) -> list[str]:
    request = [
        _grant_request(year, grant)
        | {"prescriber_id": year.advisers[grant.adviser].scope, "reference": f"list-{number:05d}"}
        for number, grant in numbered
    ]
    answer = year.calls.post("issuer", "/v1/grants/bulk", ADMIN, request, key=f"list from {numbered[0][0]}")
    if answer["refused"]:
        raise Unexpected(f"{answer['refused']} grants in bulk were refused: {_problems(answer['lines'])}")
    return [line["grant_id"] for line in answer["lines"]]


def _problems(lines: Iterable[dict[str, Any]]) -> str:
    return "; ".join(sorted({str(line["problem"].get("title")) for line in lines if line.get("problem")}))


def _grant_request(year: Year, planned: PlannedGrant) -> dict[str, Any]:
    return {
        "programme": year.world.programme["code"],
        "answers": planned.answers,
        "target_public": planned.public,
        "granted_on": planned.granted_on.isoformat(),
        "beneficiary": {
            "family_name": planned.person.family_name,
            "given_name": planned.person.given_name,
            "birth_date": planned.person.birth_date.isoformat(),
        },
    }


def _made(planned: PlannedGrant, adviser: Identity, answer: dict[str, Any]) -> MadeGrant:
    if planned.amount_cents != answer["amount_cents"]:
        raise Unexpected(f"{answer['amount_cents']} cents were granted where {planned.amount_cents} were due")
    valid_until, presentable_until = (date.fromisoformat(answer[name]) for name in ("valid_until", "presentable_until"))
    return MadeGrant(planned, answer["grant_id"], adviser, valid_until, presentable_until, _cheques(answer))


def _cheques(answer: dict[str, Any]) -> list[Cheque]:
    return [Cheque(cheque["cheque_id"], cheque["code"]) for cheque in answer.get("cheques", ())]


def _print(year: Year, grant: MadeGrant) -> None:
    grant.cheques = _cheques(year.calls.get("issuer", f"/v1/grants/{grant.grant_id}/codes", grant.adviser))
