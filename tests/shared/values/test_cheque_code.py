"""Codes as people type them."""

from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stdnum.iso7064 import mod_37_36

from shared.values import cheque_code
from shared.values.cheque_code import ALPHABET, InvalidCode

codes = st.builds(cheque_code.generate)
KEY = bytes(32)


@given(codes, st.booleans(), st.sampled_from(["", " ", "-", "  ", "\u00a0"]))
def test_a_code_is_read_back_whatever_its_case_and_spacing(code: str, lower: bool, separator: str) -> None:
    typed = cheque_code.printed(code).replace("-", separator)
    assert cheque_code.normalise(typed.lower() if lower else typed) == code


@given(codes)
def test_letters_that_look_like_digits_are_read_as_those(code: str) -> None:
    assert cheque_code.normalise(code.replace("1", "I").replace("0", "O")) == code
    assert cheque_code.normalise(code.replace("1", "l").replace("0", "o")) == code


@given(codes, st.integers(0, 16), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_noticed(code: str, place: int, character: str) -> None:
    mistyped = code[:place] + character + code[place + 1 :]
    if mistyped != code:
        with pytest.raises(InvalidCode):
            cheque_code.normalise(mistyped)


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_code_or_is_refused_without_repeating_it(typed: str) -> None:
    try:
        answer = cheque_code.normalise(typed)
    except InvalidCode as refusal:
        answer = str(refusal)
    assert len(answer) == 17 or len(typed) < 6 or typed not in answer


@given(codes, st.sampled_from(["", "-", " "]), st.text("abc .,:;'", max_size=6), st.text("abc .,:;'", max_size=6))
def test_a_code_in_somebodys_text_is_blotted_out(code: str, separator: str, before: str, after: str) -> None:
    written = cheque_code.printed(code).replace("-", separator)
    masked = cheque_code.mask(f"{before} {written} {after}")
    assert "[code]" in masked
    assert code not in masked.replace("-", "").replace(" ", "")
    assert cheque_code.mask("Refused: the cheque 01a20541-1b80-7447 is unknown") == (
        "Refused: the cheque 01a20541-1b80-7447 is unknown"
    )


def test_every_character_comes_up_in_every_place() -> None:
    made = [cheque_code.generate() for _ in range(3000)]
    assert len(set(made)) == len(made)
    assert all({code[place] for code in made} == set(ALPHABET) for place in range(17))


def test_a_digest_depends_on_the_code_and_on_the_key() -> None:
    first, second = cheque_code.generate(), cheque_code.generate()
    assert cheque_code.digest(first, KEY) == cheque_code.digest(first, KEY)
    assert cheque_code.digest(first, KEY) != cheque_code.digest(second, KEY)
    assert cheque_code.digest(first, KEY) != cheque_code.digest(first, b"\x01" * 32)


@given(codes, st.sampled_from(["", "-", " ", "\u202f"]), st.booleans())
def test_a_code_that_somebody_wrote_into_a_text_is_noticed(code: str, separator: str, lower: bool) -> None:
    assume(any(map(str.isalpha, code)))
    written = separator.join((code[0:4], code[4:8], code[8:12], code[12:16], code[16:]))
    assert cheque_code.stands_in(f"perdu le {written.lower() if lower else written}, dit-il")


@given(st.uuids(), st.text("abcdefghijklmnopqrstuvwxyz ’-"))
def test_other_keys_and_words_are_not_taken_for_codes(key: UUID, words: str) -> None:
    assert not cheque_code.stands_in(str(key))
    assert not cheque_code.stands_in(key.hex)
    assert not cheque_code.stands_in(words)


LETTERS, DIGITS = "ABCDEFGHJKMNPQRSTVWXYZ", "0123456789"


def codes_of(alphabet: str) -> st.SearchStrategy[str]:
    """Codes of these characters alone, their check character aside."""
    payloads = st.text(alphabet, min_size=16, max_size=16)
    return payloads.map(lambda payload: payload + str(mod_37_36.calc_check_digit(payload, alphabet=ALPHABET)))


@given(codes_of(LETTERS))
def test_a_code_without_a_digit_is_noticed(code: str) -> None:
    assert cheque_code.stands_in(f"perdu le {cheque_code.printed(code)}, dit-il")
    assert cheque_code.stands_in(code)


@given(codes_of(DIGITS).filter(str.isdigit), st.sampled_from(["", "0.", "-"]))
def test_seventeen_digits_are_a_number(digits: str, before: str) -> None:
    assert not cheque_code.stands_in(before + digits)


@given(st.text(LETTERS, min_size=15, max_size=15), st.sampled_from("ILO"))
def test_words_that_pass_the_check_are_words(letters: str, other: str) -> None:
    payload = (other + letters).translate(str.maketrans("ILO", "110"))
    check = str(mod_37_36.calc_check_digit(payload, alphabet=ALPHABET))
    assert cheque_code.stands_in(other + letters + check) == check.isdigit()
