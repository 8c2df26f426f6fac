"""`Idempotency-Key` on requests that create (IETF draft-ietf-httpapi-idempotency-key-header).

The answer is kept in the transaction of what it answers. The same key again gets the same answer, byte for byte; with
another request behind it, 422; while the first is in hand, 409. A refusal is not kept: it left nothing, and a
repeated request may end differently.
"""

import functools
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, cast

import sqlalchemy as sa
from flask import Response, make_response, request
from flask.typing import ResponseReturnValue
from marshmallow import fields
from sqlalchemy.orm import Session

from shared.access import tokens
from shared.eventlog import log
from shared.http.request_context import runtime, transaction
from shared.problems import Conflict, Invalid, Problem
from shared.values import cheque_code
from shared.values.encryption import KeyRing

_P = ParamSpec("_P")
HEADER = "Idempotency-Key"
_MARK = "__souche_key__"
MAX_LENGTH = 200

KEPT = sa.Table(
    "idempotent_answer",
    log.TABLES,
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_digest", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Index("idempotent_answer_created_at_idx", "created_at", postgresql_using="brin"),
)

_LOCK = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:caller || ' ' || :key, 0))")


class KeyMissing(Problem, slug="idempotency-key-missing", title="An Idempotency-Key is needed"):
    """The route creates something that must not be created twice, and no key came."""


class KeyReused(Invalid, slug="idempotency-key-reused", title="This Idempotency-Key was used for another request"):
    """The key was used for another request."""


class KeyIsCode(Invalid, slug="idempotency-key-is-a-code", title="This Idempotency-Key holds a cheque's code"):
    """The key contains a cheque's code, which must not be stored."""


class InHand(Conflict, slug="request-in-hand", title="The first request with this key is still in hand"):
    """The first request with this key has not been answered yet."""


class AnswerGone(
    Conflict, slug="idempotency-answer-gone", title="The answer to this Idempotency-Key is not kept any more"
):
    """The key was used and its answer is not kept any more."""


EMPTIED: Mapping[str, bytes] = {"request_digest": b"", "body": b""}
"""The values of an answer that is not kept any more. Its key stays: nothing is done twice."""


def key() -> str | None:
    """The request's key; raises Invalid where it is too long or contains a cheque's code."""
    sent_key = request.headers.get(HEADER, "").strip().strip('"')
    if cheque_code.stands_in(sent_key):
        raise KeyIsCode("The key is kept, and a code is cash: send a key made for this request, such as a UUID.")
    if len(sent_key) > MAX_LENGTH:
        raise Invalid(f"{HEADER} takes at most {MAX_LENGTH} characters.")
    return sent_key or None


def required_key() -> str:
    """The request's key; raises KeyMissing where there is none."""
    sent_key = key()
    if sent_key is None:
        raise KeyMissing(f"Send a fresh {HEADER} header with each new request, and the same one when you repeat it.")
    return sent_key


def request_digest(address: str | None = None) -> bytes:
    """The digest of the request's method, path (or `address` in its place) and body, which make two requests the same.

    Keyed, as a body may name a person: without the key nobody can try names against it.
    """
    return request_digests(address)[0]


def request_digests(address: str | None = None) -> tuple[bytes, ...]:
    """The request's digest by each accepted key, so that one repeated after a rotation is recognised."""
    content = f"{request.method} {address or request.full_path}\n".encode() + request.get_data()
    return tuple(hmac.digest(key, content, hashlib.sha256) for key in runtime().settings.request_keys)


def idempotent(
    *, required: bool = False, sealed_with: str | None = None, shown_once: bool = False, trials: bool = False
) -> Callable[[Callable[_P, ResponseReturnValue]], Callable[_P, ResponseReturnValue]]:
    """Makes a creating view safe to repeat; it goes between `@roles` and the view's own decorators.

    `sealed_with` names the key setting that seals the kept answers, where they are secret. `shown_once`: they are so
    secret that they are not kept, and a repeated request only learns that it was done. `trials`: the view takes
    `dry_run=true`, has no effect then, and its answer is not kept.
    """

    def decorate(view: Callable[_P, ResponseReturnValue]) -> Callable[_P, ResponseReturnValue]:
        @functools.wraps(view)
        def once(*args: _P.args, **kwargs: _P.kwargs) -> ResponseReturnValue:
            sent_key = required_key() if required else key()
            is_trial = trials and request.args.get("dry_run", "") in fields.Boolean.truthy
            if sent_key is None or is_trial:
                return view(*args, **kwargs)
            with transaction() as session:
                kept = _find(session, sent_key, sealed_with)
                if kept is not None:
                    return kept
                response = make_response(view(*args, **kwargs))
                _keep(session, sent_key, response, sealed_with, EMPTIED if shown_once else {})
                return response

        vars(once)[_MARK] = required
        return once

    return decorate


def takes_key(view: Any) -> bool | None:
    """Whether a view requires a key; None where it takes none."""
    return cast(bool | None, getattr(view, _MARK, None))


def _find(session: Session, sent_key: str, sealed_with: str | None) -> Response | None:
    who = str(tokens.caller())
    if not session.execute(_LOCK, {"caller": who, "key": sent_key}).scalar_one():
        raise InHand("Repeat it in a moment: the answer will be the first request's.", headers={"Retry-After": "1"})
    row = session.execute(sa.select(KEPT).where(KEPT.c.caller == who, KEPT.c.key == sent_key)).one_or_none()
    if row is None:
        return None
    if not row.request_digest:
        raise AnswerGone("It was done. Look for what it made, and take a fresh key for a new request.")
    if row.request_digest not in request_digests():
        raise KeyReused("Take a fresh key for a new request.")
    body = _ring(sealed_with).open(row.body, sent_key.encode()) if sealed_with else row.body
    return Response(body, status=row.status, content_type="application/json")


def _keep(
    session: Session, sent_key: str, response: Response, sealed_with: str | None, without: Mapping[str, bytes]
) -> None:
    body = response.get_data()
    row = {
        "caller": str(tokens.caller()),
        "key": sent_key,
        "request_digest": request_digest(),
        "status": response.status_code,
        "body": _ring(sealed_with).seal(body, sent_key.encode()) if sealed_with else body,
    }
    session.execute(KEPT.insert().values({**row, **without}))


def _ring(sealed_with: str) -> KeyRing:
    return KeyRing(runtime().settings.keys[sealed_with])
