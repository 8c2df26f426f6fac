"""Cheque codes: 80 random bits as 16 characters of Crockford base32, and a check character.

A code is cash: whoever reads one can spend it. No log line, error, event or address contains one.
The check character is ISO 7064's hybrid system over the same 32 characters; it catches every wrong character and
nearly every swap of two neighbours. Printed `XXXX-XXXX-XXXX-XXXX-C`.
"""

import base64
import hmac
import re
import secrets

from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_37_36

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 16
_RANDOM_BYTES = 10  # 80 bits, five a character
_TO_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ALPHABET.encode())  # from RFC 4648's base32
_LOOK_ALIKES = str.maketrans({"I": "1", "L": "1", "O": "0", "-": "", " ": "", "\u00a0": "", "\u202f": "", "\t": ""})


# 17 letters or digits, perhaps set apart in groups: those that stand by themselves, then wherever some begin.
_LETTERS = r"(?:[0-9A-Za-z][-\s]?){16}[0-9A-Za-z]"
_CANDIDATES = (re.compile(rf"(?<![0-9A-Za-z])(?=({_LETTERS})(?![0-9A-Za-z]))"), re.compile(rf"(?=({_LETTERS}))"))

# A code in one piece or as printed, by itself.
_WRITTEN = re.compile(r"(?<![0-9A-Za-z])(?=((?:[0-9A-Za-z]{4}[-\s]?){4}[0-9A-Za-z])(?![0-9A-Za-z]))")


class InvalidCode(ValueError):
    """What was presented is not a code: a typing error, not a guess. The message says what is expected."""


def generate() -> str:
    """A new code in its canonical form: 17 characters, upper case, without separators."""
    payload = base64.b32encode(secrets.token_bytes(_RANDOM_BYTES)).translate(_TO_CROCKFORD).decode()
    return payload + str(mod_37_36.calc_check_digit(payload, alphabet=ALPHABET))


def normalise(text: str) -> str:
    """The canonical form of a code as typed, I or L read as 1, O as 0; raises InvalidCode, which never repeats it."""
    code = text.upper().translate(_LOOK_ALIKES)
    if len(code) != _LENGTH + 1 or any(character not in ALPHABET for character in code):
        raise InvalidCode("A code has 17 letters or digits, printed XXXX-XXXX-XXXX-XXXX-C.")
    try:
        mod_37_36.validate(code, alphabet=ALPHABET)
    except ValidationError:
        detail = "The check character does not fit the others: one was mistyped or two were swapped."
        raise InvalidCode(detail) from None
    return code


def printed(code: str) -> str:
    """A canonical code as it is printed: `XXXX-XXXX-XXXX-XXXX-C`."""
    return "-".join((code[0:4], code[4:8], code[8:12], code[12:16], code[16:]))


def stands_in(text: str) -> bool:
    """Whether a text contains a code, and no number or words that pass its check, as three in a hundred do.

    Of the codes, one in a hundred million has no letter: 17 digits are a number. One in 600 has no digit: 17 letters
    are words where one of them stands in no code (I, L, O, U).
    """
    return any(_is_code(match[1]) and _is_no_word(match[1].upper()) for match in _WRITTEN.finditer(text))


def _is_no_word(written: str) -> bool:
    letters = {character for character in written if character.isalpha()}
    return bool(letters) and (any(map(str.isdigit, written)) or letters <= set(ALPHABET))


def mask(text: str) -> str:
    """Replaces every code in a text that others wrote, which may be kept or published only without."""
    for candidates in _CANDIDATES:
        for match in list(candidates.finditer(text)):
            if _is_code(match[1]):
                text = text.replace(match[1], "[code]")
    return text


def _is_code(text: str) -> bool:
    try:
        normalise(text)
    except InvalidCode:
        return False
    return True


def digest(code: str, key: bytes) -> bytes:
    """The keyed digest (HMAC-SHA-256, 32 bytes) by which a canonical code is looked up where codes are not kept."""
    return hmac.digest(key, code.encode(), "sha256")
