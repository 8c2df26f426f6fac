"""Before the year: programme, conventions, prescribers and advisers, the operator's contract, affiliated structures."""

from collections.abc import Mapping
from typing import Any

from demo.acts.calls import Identity
from demo.acts.settling import wait_until_read
from demo.acts.year import ADMIN, FINANCE, Bar, Year


def prepare(year: Year, bar: Bar) -> None:
    """Sets everything up, as the département's team does."""
    conventions = year.world.conventions
    bar.begin(4 + len(conventions))
    year.calls.post("issuer", "/v1/programmes", ADMIN, year.world.programme, key="programme")
    bar.advance()
    for convention, envelope in conventions:
        _agree(year, convention, envelope)
        bar.advance()
    year.count("funders", len(conventions))
    _import_prescribers(year)
    bar.advance()
    year.contract_id = _sign_contract(year)
    wait_until_read(year)
    bar.advance()
    _import_structures(year)
    bar.advance()


def _agree(year: Year, convention: Mapping[str, Any], envelope: Mapping[str, Any]) -> None:
    reference = convention["reference"]
    made = year.calls.post("issuer", "/v1/conventions", FINANCE, convention, key=f"convention {reference}")
    held = {**envelope, "convention_id": made["convention_id"]}
    year.calls.post("issuer", "/v1/envelopes", FINANCE, held, key=f"envelope {reference}")


def _import_prescribers(year: Year) -> None:
    year.calls.post("issuer", "/v1/prescribers/imports", ADMIN, year.world.places("prescribers"))
    found = year.calls.pages("issuer", "/v1/prescribers", ADMIN, limit=500)
    prescribers = [prescriber["prescriber_id"] for prescriber in found]
    year.advisers = [
        Identity("prescriber", prescribers[number % len(prescribers)], f"conseiller-{number + 1:02d}")
        for number in range(year.world.advisers)
    ]
    year.count("prescribers", len(prescribers))
    year.count("advisers", len(year.advisers))


def _import_structures(year: Year) -> None:
    year.calls.post("redeemer", "/v1/structures/imports", ADMIN, year.world.places("structures"))
    found = year.calls.pages("redeemer", "/v1/structures", ADMIN, limit=500)
    year.structures = [Identity("structure", structure["structure_id"], "caisse") for structure in found]
    for structure in year.structures:
        affiliation = {"structure_id": structure.scope, "contract_id": year.contract_id} | year.world.period
        year.calls.post("redeemer", "/v1/affiliations", ADMIN, affiliation, key=f"affiliation {structure.scope}")
    year.count("structures", len(year.structures))


def _sign_contract(year: Year) -> str:
    contract_id = draft_contract(year, year.world.described["contract"])
    year.calls.post("operator_bridge", f"/v1/contracts/{contract_id}/state", ADMIN, {"state": "live"})
    return contract_id


def draft_contract(year: Year, described: Mapping[str, Any]) -> str:
    """Drafts a contract for the programme, and gives its id."""
    of = {name: described[name] for name in ("code", "operator")}
    contract = of | {"programme": year.world.programme["code"]} | year.world.period
    made = year.calls.post("operator_bridge", "/v1/contracts", ADMIN, contract, key=f"contract {of['code']}")
    contract_id: str = made["contract_id"]
    return contract_id
