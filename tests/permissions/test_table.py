"""The permissions of routes: said on the views, read from an application, printed as the page that the tests go by."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from shared.access import permissions
from shared.access.permissions import Permission
from shared.access.tokens import Role, public, roles
from shared.settings.settings import SERVICES
from souche.cli import main
from souche.commands.permissions import of_service
from tests.permissions.asking import PAGE, TABLES


def things(**views: Callable[[], Any]) -> Flask:
    app = Flask("things", static_folder=None)
    for name, view in views.items():
        app.get(f"/v1/{name}/<uuid:{name}_id>", endpoint=name)(view)
    return app


def nothing() -> str:
    return ""


def test_a_line_says_how_far_a_route_reaches_for_each_role() -> None:
    guarded = roles("admin", "operations", own="prescriber", service="issuer")(nothing)
    [line] = permissions.of(things(thing=guarded))
    assert line.route == ("GET", "/v1/thing/{thing_id}")
    assert line.reach == {Role.ADMIN: "all", Role.OPERATIONS: "all", Role.PRESCRIBER: "own", Role.SERVICE: "issuer"}
    assert line.cells == ("all", "-", "all", "own", "-", "issuer")


def test_a_public_route_says_so() -> None:
    [line] = permissions.of(things(door=public(nothing)))
    assert not line.reach
    assert set(line.cells) == {"everybody"}


def test_a_route_that_says_nothing_is_named() -> None:
    with pytest.raises(RuntimeError, match="not public: window\\."):
        permissions.of(things(door=public(nothing), window=nothing))


@pytest.mark.parametrize(
    ("everything", "named"),
    [
        ((), {}),
        (("admin", "admin"), {}),
        (("somebody",), {}),
        (("admin",), {"own": "finance"}),
        (("prescriber",), {"own": "prescriber"}),
        (("service",), {"service": "issuer"}),
        ((), {"service": "somebody"}),
    ],
)
def test_roles_that_make_no_sense_are_refused(everything: tuple[str, ...], named: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        roles(*everything, **named)


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_that_the_tests_go_by_says_what_the_routes_say(service: str) -> None:
    def lines(table: list[Permission] | tuple[Permission, ...]) -> dict[tuple[str, str], dict[Role, str]]:
        return {line.route: dict(line.reach) for line in table}

    assert lines(TABLES[service]) == lines(of_service(service))
    assert len(TABLES[service]) == len(of_service(service))


def test_the_page_in_the_documentation_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["permissions"])
    assert printed.exit_code == 0
    assert printed.output == PAGE.read_text(encoding="utf-8"), "make it anew: souche permissions > docs/permissions.md"
