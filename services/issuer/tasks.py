"""The issuer's work outside requests."""

from typing import Any

from celery import shared_task

from services.issuer.consuming import HANDLERS
from shared.celery import runtime

BEAT: dict[str, dict[str, Any]] = {}
"""Ticks of the issuer's own: none."""


@shared_task(name="issuer.pull")
def pull(publisher: str) -> None:
    """Applies the news of another service."""
    runtime().pull(publisher, HANDLERS)
