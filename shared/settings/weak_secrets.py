"""What a secret must not be: a placeholder, an example, a key that nobody drew at random, a key of the demonstration.

The demonstration's keys bear a mark in themselves, by which they are recognised under any name in a deployment.
"""

import hashlib
import itertools
import re
import secrets
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

KEY_BYTES = 32
DEMONSTRATION = "demo"
"""How the ids of the demonstration's keys begin; a public key has no other mark."""

_MARKED = 24  # random bytes of a marked key: 192 bits, the mark is the rest
_FEWEST_BYTES = 16  # distinct ones; 32 random bytes have about 30, and fewer than 16 once in 10**18 keys
_SHORTEST = 12
_PLACEHOLDERS = re.compile(
    "admin|change|changeit|changeme|default|demo|dev|development|example|foobar|guest|insecure|letmein|none|null|"
    "passphrase|passw0rd|password|placeholder|postgres|postgresql|qwerty|redis|replaceme|root|secret|souche|test|token|"
    "todo|unset|user|xxx|yourpassword|yoursecret"
)
_BLANKS = re.compile(r"<.*>|\$\{.*\}|\{\{.*\}\}|\[.*\]|(.)\1*")


def demonstration_key() -> bytes:
    """A key of 32 bytes that every process outside of the demonstration refuses."""
    drawn = secrets.token_bytes(_MARKED)
    return drawn + _mark(drawn)


def is_demonstration_key(key_id: str, key: bytes) -> bool:
    """Whether a key is one that the demonstration made."""
    marked = len(key) == KEY_BYTES and key[_MARKED:] == _mark(key[:_MARKED])
    return marked or key_id.startswith(DEMONSTRATION)


def _mark(drawn: bytes) -> bytes:
    return hashlib.sha256(b"souche demonstration" + drawn).digest()[: KEY_BYTES - _MARKED]


def of_key(key: bytes) -> str | None:
    """What is wrong with a key, None where it may have been drawn at random."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    if len(steps) == 1 or len(set(key)) < _FEWEST_BYTES:
        return "is not random: it repeats itself"
    if all(32 <= byte < 127 for byte in key):
        return "is not random: it is a text"
    return None


def of_ring(ring: Mapping[str, bytes], *, demonstration: bool) -> str | None:
    """What is wrong with the first bad key of a setting; the demonstration may use its own."""
    for key_id, key in ring.items():
        if fault := of_key(key):
            return f"The key {key_id} {fault}."
        if is_demonstration_key(key_id, key) and not demonstration:
            return f"The key {key_id} is one of the demonstration: `souche keys` makes keys of your own."
    return None


def of_operators(text: str) -> str | None:
    """What is wrong with a secret that an operator gave: its length is theirs to choose, a placeholder is nobody's."""
    fault = of_text(text)
    return f"It {fault}." if fault and "placeholder" in fault else None


def of_text(text: str) -> str | None:
    """What is wrong with a password or another secret text, None where it may be one."""
    plain = re.sub(r"[\W_]+|\d+$", "", text.casefold())
    if not plain or _PLACEHOLDERS.fullmatch(plain) or _BLANKS.fullmatch(text.strip()):
        return "is a placeholder: put a secret of your own in its place (`openssl rand -hex 24` makes one)"
    if len(text) < _SHORTEST:
        return f"is too short: expected {_SHORTEST} characters or more"
    return None


def of_address(address: str) -> str | None:
    """What is wrong with the password in an address; an address without one leaves it to the server who may enter."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    password, user = unquote(parts.password or ""), unquote(parts.username or "")
    if not password:
        return None
    fault = of_text(password) or ("is the user's name" if password == user else None)
    return f"The password in this address {fault}." if fault else None


def repeated(rings: Mapping[str, Mapping[str, bytes]]) -> dict[str, str | None]:
    """By setting, that one of its keys is another setting's too: what one lets out would open the other."""
    first: dict[bytes, str] = {}
    faults: dict[str, str | None] = {}
    for name, ring in rings.items():
        for key in ring.values():
            if first.setdefault(key, name) != name:
                faults[name] = f"One of its keys is also in {first[key]}: every setting has keys of its own."
    return faults
