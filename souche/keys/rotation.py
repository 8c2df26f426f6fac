"""The keys of a setting after each step of a rotation."""

from collections.abc import Mapping

from shared.settings.settings import SERVICES, ConfigurationError
from souche.keys.generating import SECRET_KEYS, random_key

ADD, USE, DROP = STEPS = ("add", "use", "drop")


def rotated(ring: Mapping[str, bytes], step: str) -> dict[str, bytes]:
    """A setting's keys after a step: `add` a key that is accepted, `use` the last one added, `drop` all others.

    Raises ConfigurationError where there is nothing to use or drop.
    """
    if step == ADD:
        return {**ring, _next_id(ring): random_key()}
    if len(ring) < 2:
        raise ConfigurationError(f"There is one key alone: nothing to {step}. Begin with `add`.")
    if step == USE:
        newest = list(ring)[-1]
        return {newest: ring[newest], **ring}
    return dict(list(ring.items())[:1])


def _next_id(ring: Mapping[str, bytes]) -> str:
    numbers = [int(key_id[1:]) for key_id in ring if key_id[:1] == "k" and key_id[1:].isdigit()]
    return f"k{max(numbers, default=len(ring)) + 1}"


ROTATABLE = (*SECRET_KEYS, *(f"{service.upper()}_SIGNING_KEYS" for service in SERVICES), "TOKEN_PRIVATE_KEY")
