"""The table of permissions: read from text, bound to the routes, and printed."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from shared.access import permissions
from shared.access.permissions import table
from shared.access.tokens import Role, public, roles
from souche.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"


def test_a_line_says_how_far_a_route_reaches_for_each_role() -> None:
    [one] = table("# Things.\nGET /v1/things/{thing_id} all - all own - issuer")
    assert one.route == ("GET", "/v1/things/{thing_id}")
    assert one.about == "Things."
    expected = {Role.ADMIN: "all", Role.OPERATIONS: "all", Role.PRESCRIBER: "own", Role.SERVICE: "issuer"}
    assert one.reach == expected


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/things all -",
        "GET /v1/things own - - - - -",
        "GET /v1/things all - - - - somebody",
        "GET /v1/things - - - - - -",
        "GET /v1/things all - - - - -\nGET /v1/things all - - - - -",
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="/v1/things"):
        table(line)


def things() -> Flask:
    app = Flask("things", static_folder=None)
    app.get("/v1/things", endpoint="things")(roles("admin", "prescriber")(lambda: "things"))
    app.get("/v1/doors", endpoint="doors")(public(lambda: "open"))
    return app


AS_IT_IS = ("GET /v1/things all - - own - -", "GET /v1/doors everybody")


def test_routes_that_are_as_the_table_says_are_accepted() -> None:
    permissions.check(things(), table("\n".join(AS_IT_IS)))


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (AS_IT_IS[:1], "GET /v1/doors has no line"),
        ((*AS_IT_IS, "POST /v1/things all - - - - -"), "there is no route POST /v1/things"),
        (("GET /v1/things all - - - - -", AS_IT_IS[1]), "GET /v1/things opens to admin, prescriber, its line to admin"),
        (("GET /v1/things everybody", AS_IT_IS[1]), "GET /v1/things opens to admin, prescriber, its line to everybody"),
        ((AS_IT_IS[0], "GET /v1/doors all - - - - -"), "GET /v1/doors opens to everybody, its line to admin"),
    ],
)
def test_an_application_that_differs_from_its_table_does_not_start(lines: tuple[str, ...], fault: str) -> None:
    with pytest.raises(RuntimeError, match=fault):
        permissions.check(things(), table("\n".join(lines)))


def test_the_page_in_the_documentation_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["permissions"])
    assert printed.exit_code == 0
    assert printed.output == PAGE.read_text(encoding="utf-8"), "make it anew: souche permissions > docs/permissions.md"
