"""Sealing: authenticated encryption at rest (AES-256-GCM) with keys that can be rotated.

A sealed value is `length of key id | key id | nonce (12) | ciphertext`. It is bound to its context, the identifier of
the row it belongs to, so a ciphertext copied to another row does not open.
"""

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class CannotOpen(Exception):
    """A sealed value does not open: its key is not in the ring, or it was altered or moved."""


class KeyRing:
    """Seals with its first key and opens with any."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(self._ciphers))

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypts `plain`, bound to `context`."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._ciphers[self._current].encrypt(nonce, plain, context)
        return bytes([len(self._current)]) + self._current + nonce + sealed

    @property
    def former(self) -> list[bytes]:
        """How the values begin that are sealed with a key other than the current one."""
        return [bytes([len(key_id)]) + key_id for key_id in self._ciphers if key_id != self._current]

    def reseal(self, sealed: bytes, context: bytes) -> bytes:
        """The same value sealed with the current key; raises CannotOpen."""
        return self.seal(self.open(sealed, context), context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypts what `seal` gave for the same context; raises CannotOpen."""
        split = 1 + sealed[0]
        cipher = self._ciphers.get(bytes(sealed[1:split]))
        if cipher is None:
            raise CannotOpen("The key that sealed this value is not in the ring.")
        try:
            return cipher.decrypt(sealed[split : split + _NONCE], sealed[split + _NONCE :], context)
        except InvalidTag:
            raise CannotOpen("The value was altered, or belongs to another row.") from None
