"""The issuer with a programme, money and a prescriber, made through its public API."""

import pytest

from tests.harness import ServiceUnderTest
from tests.issuer.office import Office


@pytest.fixture
def empty_office(issuer: ServiceUnderTest) -> Office:
    """The issuer, with nothing in it but what is asked for."""
    return Office(issuer)


@pytest.fixture
def office(empty_office: Office) -> Office:
    """An office with the programme `pass`: cheques of 10 €, at least 50 €, spendable on issue."""
    empty_office.programme()
    return empty_office
