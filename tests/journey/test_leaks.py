"""Codes are cash and names are people: after a whole journey through the real processes, neither stands anywhere.

Everything is at its most talkative: logs at DEBUG, every statement in the database's log. What may hold a code is the
issuer's sealed column and the books of the operator, who is told the codes that it registers; what may hold a name is
the issuer's sealed identities.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
import requests

from demo.acts import settling
from demo.acts.calls import Identity
from demo.acts.year import ADMIN, FINANCE, OPERATIONS
from shared.settings.settings import SERVICES
from shared.values import cheque_code, clock
from tests.faults.town import Silent, Town, eventually, town
from tests.journey import traces
from tests.tracing.receiver import Received, collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

PERSON = {"family_name": "Zarathoustrève", "given_name": "Quetzalcoatline", "birth_date": "1931-12-07"}
OPERATORS_BOOKS = "docaposte"


@dataclass
class Journey:
    """A town with marked cheques of a marked person, and all that it was answered where nothing should be told."""

    town: Town
    collector: Received
    codes: dict[str, str] = field(default_factory=dict)
    """What became of each marked cheque, and its code as printed."""
    ids: dict[str, str] = field(default_factory=dict)
    refusals: list[tuple[str, bytes]] = field(default_factory=list)
    person_id: str = ""

    @property
    def adviser(self) -> Identity:
        return self.town.year.advisers[0]

    @property
    def till(self) -> Identity:
        return self.town.year.structures[0]

    def post(self, service: str, path: str, who: Identity, body: Any = None, **options: Any) -> Any:
        """A request that must succeed."""
        return self.town.year.calls.post(service, path, who, body, key=str(uuid4()), **options)

    def get(self, service: str, path: str, who: Identity) -> bytes:
        """What is shown to somebody, whatever it is."""
        return self.send("GET", service, path, who).content

    def send(self, method: str, service: str, path: str, who: Identity, **options: Any) -> requests.Response:
        """Any request, with whatever answer."""
        headers = {"Authorization": f"Bearer {self.town.year.calls.token(who)}", "Idempotency-Key": str(uuid4())}
        headers |= options.pop("headers", {})
        address = self.town.stack.addresses[service] + path
        return requests.request(method, address, headers=headers, timeout=30, **options)

    def refused(self, status: int, method: str, service: str, path: str, who: Identity, **options: Any) -> None:
        """A request that must be refused so; what it is told is kept, to be looked at."""
        answer = self.send(method, service, path, who, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        self.refusals.append((f"refusal of {method} {path}", answer.content + str(answer.headers).encode()))

    def present(self, *whats: str, expected: int = 201) -> Any:
        """Presents marked cheques."""
        codes = [self.codes[what] for what in whats]
        return self.post("redeemer", "/v1/redemptions", self.till, {"codes": codes}, expected=(expected,))

    def settle(self) -> None:
        """Waits until everybody has heard everything, the operator included."""
        settling.settle(self.town.year, Silent())

    def all_that_was_written(self, *, but: str = "\0") -> Iterator[tuple[str, bytes]]:
        """Files, tables, the broker, the feeds and the metrics."""
        stack = self.town.stack
        with psycopg.connect(_owner(self), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        yield from traces.files(stack.directory, but=but)
        yield from traces.tables(stack.environ["DATABASE_URL"])
        yield from traces.broker(stack.environ["REDIS_URL"])
        for service in SERVICES:
            yield f"metrics of {service}", self.get(service, "/metrics", OPERATIONS)
            token = {"Authorization": f"Bearer {stack.environ[f'{_reader_of(service).upper()}_SERVICE_TOKEN']}"}
            feed = f"{stack.addresses[service]}/v1/events?after=0&limit=1000"
            yield f"feed of {service}", requests.get(feed, headers=token, timeout=30).content
        yield from ((f"spans, body {number}", body) for number, body in enumerate(list(self.collector.bodies)))
        yield from self.refusals


def _reader_of(service: str) -> str:
    return next(other for other in SERVICES if other != service)


@pytest.fixture(scope="module")
def journey() -> Iterator[Journey]:
    with pytest.MonkeyPatch.context() as patch, collecting() as collector:
        patch.setenv("LOG_LEVEL", "DEBUG")
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        with town(0.02) as place:
            made = Journey(place, collector)
            with psycopg.connect(_owner(made), autocommit=True) as owner:
                owner.execute("ALTER SYSTEM SET log_statement = 'all'")
                owner.execute("SELECT pg_reload_conf()")
            _play(made)
            yield made


def _play(journey: Journey) -> None:
    _grant(journey)
    _show(journey)
    _spend(journey)
    _withdraw(journey)
    _err(journey)
    _break(journey)
    _ask_about_the_person(journey)
    journey.settle()


def _grant(journey: Journey) -> None:
    """Two grants, one of them to the person; a file of them too, with lines that are refused."""
    programme = journey.town.year.world.programme["code"]
    order = {"programme": programme, "amount_cents": 5000, "reason": "evaluation"}
    whats = [
        "spent",
        "reversed",
        "cancelled",
        "blocked",
        "lost",
        "at the operator's",
        "checked",
        "typed",
        "guessed",
        "x",
    ]
    for whose in ({"beneficiary": PERSON}, {}):
        made = journey.post("issuer", "/v1/grants", journey.adviser, order | whose)
        for cheque in made["cheques"]:
            what = whats.pop(0)
            journey.codes[what], journey.ids[what] = cheque["code"], cheque["cheque_id"]
        journey.ids.setdefault("grant", made["grant_id"])
    head = "programme,amount_cents,reason,family_name,given_name,birth_date,granted_on\n"
    name = f"{PERSON['family_name']},{PERSON['given_name']}"
    lines = f"{programme},5000,file,{name},1931-12-07,\n{programme},1,file,{name},07/12/1931,\nnone,5000,,{name},no,\n"
    answer = journey.send(
        "POST", "issuer", "/v1/grants/bulk", journey.adviser, data=f"{head}{lines}".encode(),
        headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    assert answer.json()["refused"] >= 1, answer.text[:500]
    journey.settle()


def _show(journey: Journey) -> None:
    """Whatever shows codes to those who may see them."""
    grant = f"/v1/grants/{journey.ids['grant']}"
    assert journey.codes["spent"].encode() in journey.get("issuer", f"{grant}/codes", journey.adviser)
    assert journey.get("issuer", f"{grant}/booklet.html", journey.adviser).startswith(b"<!doctype html>")
    assert journey.get("issuer", f"{grant}/booklet.pdf", journey.adviser).startswith(b"%PDF")
    many = {"grant_ids": [journey.ids["grant"]], "per_page": 5}
    assert journey.send("POST", "issuer", "/v1/booklets", journey.adviser, json=many).ok


def _spend(journey: Journey) -> None:
    check = {"code": journey.codes["checked"].lower()}
    assert journey.post("redeemer", "/v1/checks", journey.till, check)["redeemable"]
    journey.present("spent")
    journey.present("spent", expected=409)
    redeemed = journey.present("reversed", "checked")["redemptions"][0]
    reason = {"reason": "atelier annulé"}
    journey.post("redeemer", f"/v1/redemptions/{redeemed['redemption_id']}/reversal", journey.till, reason)
    [operator] = journey.town.stack.operators.values()
    told = {"code": journey.codes["at the operator's"], "structure": journey.till.scope}
    journey.town.year.calls.post_to(f"{operator}/till/redemptions", told, expected=201)
    journey.settle()
    settling.pay(journey.town.year, operator, Silent())
    settling.compare(journey.town.year, journey.town.year.contract_id, Silent())
    month = {"month": f"{clock.add_months(clock.today().replace(day=1), -1):%Y-%m}"}
    journey.send("POST", "redeemer", "/v1/statements", FINANCE, json=month)


def _withdraw(journey: Journey) -> None:
    """Cancelled, blocked, lost and replaced."""
    for what, path in (("cancelled", "/v1/cancellations"), ("blocked", "/v1/blocks")):
        body = {"cheque_ids": [journey.ids[what]], "reason": "volé dans le bus"}
        journey.post("issuer", path, journey.adviser, body)
    replaced = journey.town.report_lost(journey.ids["lost"])
    assert eventually(lambda: bool(journey.town.new_codes(replaced)), 30)
    [journey.codes["replacing"]] = journey.town.new_codes(replaced)
    journey.settle()
    for what in ("cancelled", "blocked", "lost"):
        journey.present(what, expected=409)
    journey.present("replacing")


def _err(journey: Journey) -> None:
    """Codes and names where they do not belong, as people and programs in good faith put them there."""
    code, till, adviser = journey.codes["typed"], journey.till, journey.adviser
    refused, json_type = journey.refused, {"Content-Type": "application/json"}
    mistyped = code[:-1] + ("0" if code[-1] != "0" else "1")
    refused(409, "POST", "redeemer", "/v1/redemptions", till, json={"codes": [mistyped]})
    refused(422, "POST", "redeemer", "/v1/redemptions", till, json={"codes": code})
    refused(422, "POST", "redeemer", "/v1/redemptions", till, json={"codes": [code, code.lower()]})
    refused(422, "POST", "redeemer", "/v1/redemptions", till, json={"codes": [code], "given_on": code})
    refused(422, "POST", "redeemer", "/v1/redemptions", till, json={"codes": [code], "service": f"Atelier {code}"})
    refused(422, "POST", "redeemer", "/v1/redemptions", till, json={"codes": [code]}, headers={"Idempotency-Key": code})
    refused(422, "POST", "redeemer", "/v1/checks", till, json={"code": [code]})
    refused(400, "POST", "redeemer", "/v1/checks", till, data=f'{{"code": "{code}"', headers=json_type)
    refused(403, "POST", "redeemer", "/v1/checks", adviser, json={"code": code})
    refused(401, "POST", "redeemer", "/v1/checks", till, json={"code": code}, headers={"Authorization": code})
    refused(401, "GET", "redeemer", "/v1/redemptions", till, headers={"Authorization": f"Bearer {code}.{code}.{code}"})
    _err_in_addresses_and_headers(journey, code)
    answer = journey.send("POST", "redeemer", "/v1/checks", till, json={"code": code}, headers={"X-Request-ID": code})
    assert answer.ok
    for service in SERVICES:
        refused(404, "GET", service, f"/v1/checks/{code}", till)
    journey.send("GET", "redeemer", f"/v1/redemptions?after={code}", till)
    bad = b"id;" + code.encode() + b";" + json.dumps(PERSON, ensure_ascii=False).encode()
    csv_type = {"Content-Type": "text/csv"}
    refused(422, "POST", "issuer", "/v1/prescribers/imports", ADMIN, data=bad, headers=csv_type)
    refused(422, "POST", "redeemer", "/v1/structures/imports", ADMIN, data=bad, headers=csv_type)
    refused(422, "POST", "redeemer", "/v1/payments/imports", FINANCE, data=bad, headers=csv_type)
    refused(422, "POST", "issuer", "/v1/grants/bulk", adviser, data=bad, headers=csv_type)
    lost = {"cheque_ids": [journey.ids["typed"]], "reason": f"perdu le chèque {code.replace('-', ' ')}"}
    for path in ("/v1/blocks", "/v1/cancellations"):
        refused(422, "POST", "issuer", path, adviser, json=lost)
    refused(422, "POST", "issuer", "/v1/replacements", adviser, json=lost | {"cause": "lost"})
    order = {
        "programme": "none",
        "amount_cents": 5000,
        "reason": "r",
        "beneficiary": PERSON | {"birth_date": "07/12/31"},
    }
    refused(422, "POST", "issuer", "/v1/grants", adviser, json=order)
    refused(422, "POST", "issuer", "/v1/grants", adviser, json=order | {"beneficiary": PERSON})
    signed = {"webhook-id": code, "webhook-timestamp": "1", "webhook-signature": f"v1,{code}"}
    webhook = f"/v1/operators/{OPERATORS_BOOKS}/webhooks"
    refused(401, "POST", "operator_bridge", webhook, ADMIN, json={"code": code}, headers=signed)


def _err_in_addresses_and_headers(journey: Journey, code: str) -> None:
    """Where a trace would pick them up: paths, queries, the headers by which traces and browsers say who they are."""
    state = {"traceparent": f"00-{uuid4().hex}-{uuid4().hex[:16]}-01", "tracestate": f"till={code}"}
    said = state | {"baggage": f"code={code}", "User-Agent": f"Caisse {code}", "Host": code}
    for service, path in (
        ("redeemer", f"/v1/checks/{code}"),
        ("issuer", f"/v1/cheques/{code}"),
        ("issuer", f"/{code}"),
    ):
        answer = journey.send("GET", service, path, journey.till, headers=said, params={"code": code})
        assert answer.status_code == 404, answer.text[:500]
    check = {"json": {"code": journey.codes["checked"]}, "headers": said}
    assert journey.send("POST", "redeemer", "/v1/checks", journey.till, **check).ok
    body = {"programme": journey.town.year.world.programme["code"], "amount_cents": 5000, "reason": "evaluation"}
    assert journey.send("POST", "issuer", "/v1/grants", journey.adviser, json=body, headers=said).ok


def _break(journey: Journey) -> None:
    """The database fails in the middle of what holds a code or a name: every service answers 500."""
    code, order = journey.codes["guessed"], {"amount_cents": 5000, "reason": "r", "beneficiary": PERSON}
    order["programme"] = journey.town.year.world.programme["code"]
    with _without(journey, "redeemer", "presentation"):
        journey.refused(500, "POST", "redeemer", "/v1/redemptions", journey.till, json={"codes": [code]})
    with _without(journey, "redeemer", "guessing"):
        journey.refused(500, "POST", "redeemer", "/v1/checks", journey.till, json={"code": code})
    with _without(journey, "issuer", "charge"):
        journey.refused(500, "POST", "issuer", "/v1/grants", journey.adviser, json=order)
    with _without(journey, "operator_bridge", "link"):
        journey.refused(500, "GET", "operator_bridge", "/v1/balances", OPERATIONS)


@contextmanager
def _without(journey: Journey, schema: str, table: str) -> Iterator[None]:
    """A table is away for a moment."""
    with psycopg.connect(_owner(journey), autocommit=True) as owner:
        owner.execute(f'ALTER TABLE {schema}."{table}" RENAME TO away')
        try:
            yield
        finally:
            owner.execute(f'ALTER TABLE {schema}.away RENAME TO "{table}"')


def _owner(journey: Journey) -> str:
    return journey.town.stack.environ["DATABASE_URL"].replace("+psycopg", "")


def _ask_about_the_person(journey: Journey) -> None:
    """The person asks what is held of them."""
    journey.person_id = journey.post("issuer", "/v1/people/searches", ADMIN, PERSON)["person_id"]
    path = f"/v1/people/{journey.person_id}"
    export = json.loads(journey.get("issuer", f"{path}/export.json", ADMIN))
    assert export["identity"]["family_name"] == PERSON["family_name"]
    assert journey.get("issuer", f"{path}/letter.pdf", ADMIN).startswith(b"%PDF")


def codes_of(journey: Journey) -> dict[str, set[bytes]]:
    return {f"the code of the cheque {what}": traces.of_code(code) for what, code in journey.codes.items()}


def names_of_the_person() -> dict[str, set[bytes]]:
    told = [*PERSON.values(), "ZARATHOUSTREVE", "07/12/1931"]
    return {f"the person's {value!r}": traces.of_name(value) for value in told}


def test_everything_was_said_that_can_be(journey: Journey) -> None:
    """Or the other tests would look through little."""
    logs = journey.town.stack.directory / "logs"
    assert '"level": "debug"' in (logs / "redeemer.log").read_text(encoding="utf-8")
    for service in ("redeemer", "issuer", "operator_bridge"):
        assert '"exception": ' in (logs / f"{service}.log").read_text(encoding="utf-8")
    statements = (journey.town.stack.directory / "pg" / "postgres.log").read_text(encoding="utf-8")
    assert "INSERT INTO beneficiary" in statements
    assert "INSERT INTO presentation" in statements
    names = {where for where, _ in journey.all_that_was_written()}
    tables = ("issuer.event", "redeemer.presentation", "operator_bridge.operator_order", "issuer.audit_entry")
    assert names > {f"{table} ({kind})" for table in tables for kind in ("text", "binary")}
    assert any(name.startswith("pg/data/pg_wal/") for name in names)
    assert any("appendonly" in name for name in names)
    assert len(journey.codes) == 11
    spans = journey.collector.spans()
    assert {"POST /v1/grants", "POST /v1/redemptions", "POST /v1/codes", "push orders"} <= {span.name for span in spans}
    assert any(span.facts.get("http.response.status_code") == 500 for span in spans)


def test_no_token_stands_in_a_span(journey: Journey) -> None:
    environ, secret = journey.town.stack.environ, ("TOKEN", "SECRET", "SECRETS", "KEY", "KEYS")
    kept = {name: value for name, value in environ.items() if name.endswith(secret) and "PUBLIC" not in name}
    kept["of an adviser"] = journey.town.year.calls.token(journey.adviser)
    parts = {name: {part.encode() for part in value.split(",") if len(part) > 8} for name, value in kept.items()}
    assert len(parts) > 8
    assert traces.found(parts, [("spans", body) for body in journey.collector.bodies]) == []


def test_no_digest_of_a_code_stands_in_a_span(journey: Journey) -> None:
    with psycopg.connect(_owner(journey)) as connection:
        rows = connection.execute("SELECT digest FROM redeemer.cheque").fetchall()
    digests = {spelt for (digest,) in rows for spelt in (digest, digest.hex().encode(), base64.b64encode(digest))}
    assert len(digests) > 3 * len(journey.codes)
    assert traces.found({"a digest": digests}, [("spans", body) for body in journey.collector.bodies]) == []


def test_no_code_stands_in_anything_that_was_written(journey: Journey) -> None:
    written = journey.all_that_was_written(but=OPERATORS_BOOKS)
    assert traces.found(codes_of(journey), written) == []


def test_the_codes_are_with_the_issuer_all_the_same(journey: Journey) -> None:
    shown = journey.get("issuer", f"/v1/grants/{journey.ids['grant']}/codes", journey.adviser).decode()
    assert journey.codes["spent"] in shown
    with psycopg.connect(_owner(journey)) as connection:
        [sealed] = (
            connection.execute("SELECT count(*) FROM issuer.cheque WHERE length(sealed_code) > 17").fetchone() or ()
        )
    assert sealed >= len(journey.codes)


def test_no_name_stands_in_anything_that_was_written_the_operators_books_included(journey: Journey) -> None:
    assert traces.found(names_of_the_person(), journey.all_that_was_written()) == []


def test_what_is_planted_is_found_wherever_it_is_and_however_it_is_spelt(journey: Journey) -> None:
    stack, code = journey.town.stack, journey.codes["spent"]
    planted = {"redeemer.log": code.replace("-", "").lower().encode(), "left.tmp": code.encode().hex().encode()}
    for name, content in planted.items():
        (stack.directory / "logs" / name).open("ab").write(b"planted: " + content + b"\n")
    with redis.Redis.from_url(stack.environ["REDIS_URL"]) as server:
        server.lpush("planted", base64.b64encode(b'{"a": "' + code.encode() + b'"}'))
    with psycopg.connect(_owner(journey), autocommit=True) as owner:
        owner.execute("CREATE TABLE redeemer.planted AS SELECT %s::bytea AS reversed", (code.encode()[::-1],))
    looked_through = chain(
        traces.files(stack.directory / "logs"),
        traces.tables(stack.environ["DATABASE_URL"]),
        traces.broker(stack.environ["REDIS_URL"]),
    )
    secret = {"it": traces.of_code(code)}
    found = {where for where, _ in traces.found(secret, looked_through) if not where.startswith(OPERATORS_BOOKS)}
    assert found == {"redeemer.log", "left.tmp", "broker: b'planted'", "redeemer.planted (binary)"}


def test_every_spelling_of_a_code_is_known() -> None:
    code = cheque_code.printed(cheque_code.generate())
    plain = code.replace("-", "")
    for text in (code, plain, code.lower(), plain.lower(), code.replace("-", " ")):
        for before in (b"", b"x", b"xy"):
            raw = text.encode()
            for spelt in (raw, raw[::-1], raw.hex().encode(), base64.b64encode(before + raw + b"z")):
                assert traces.found({"code": traces.of_code(code)}, [("here", b"<" + spelt + b">")]) == [
                    ("here", "code")
                ]
    assert traces.found({"code": traces.of_code(code)}, [("here", b"nothing")]) == []
