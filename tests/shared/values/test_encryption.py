"""What is sealed opens with its key, in its place, and not otherwise."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values.encryption import CannotOpen, KeyRing

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_sealed_opens_after_a_rotation_too(plain: bytes, context: bytes) -> None:
    sealed = KeyRing({"old": OLD}).seal(plain, context)
    assert KeyRing({"new": NEW, "old": OLD}).open(sealed, context) == plain
    assert plain not in sealed or len(plain) < 4


@given(st.binary(min_size=1, max_size=60), st.integers(0))
def test_an_altered_value_does_not_open(plain: bytes, place: int) -> None:
    ring = KeyRing({"k": NEW})
    sealed = bytearray(ring.seal(plain, b"row"))
    sealed[place % len(sealed)] ^= 1
    with pytest.raises(CannotOpen):
        ring.open(bytes(sealed), b"row")


def test_a_value_copied_to_another_row_or_read_without_its_key_does_not_open() -> None:
    sealed = KeyRing({"k": NEW}).seal(b"secret", b"row 1")
    with pytest.raises(CannotOpen, match="another row"):
        KeyRing({"k": NEW}).open(sealed, b"row 2")
    with pytest.raises(CannotOpen, match="not in the ring"):
        KeyRing({"other": OLD}).open(sealed, b"row 1")
