"""However much is wrong with a request, the answer is short, and says how much there is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.problems import MAX_ERRORS, Invalid, first_errors

TREES = st.recursive(
    st.text(max_size=5).map(lambda text: [text]),
    lambda inner: st.dictionaries(st.text(max_size=3) | st.integers(0, 50), inner, max_size=6),
    max_leaves=60,
)


def leaves(errors: Any) -> int:
    if isinstance(errors, dict | list):
        return sum(map(leaves, errors.values() if isinstance(errors, dict) else errors))
    return 1


@given(TREES, st.integers(1, 30))
def test_the_first_errors_are_kept_and_all_are_counted(errors: Any, most: int) -> None:
    kept, total = first_errors(errors, most)
    assert total == leaves(errors)
    assert leaves(kept) == min(total, most)
    if total <= most:
        assert kept == errors


@pytest.mark.parametrize(
    "errors",
    [
        {"codes": {number: ["Not a valid string."] for number in range(100_000)}},
        {f"member-{number}": ["Unknown field."] for number in range(100_000)},
        {"codes": ["Wrong."] * 100_000},
        {"x" * 1_000_000: ["Unknown field."]},
        {"reason": ["x" * 1_000_000]},
    ],
)
def test_the_body_of_a_problem_is_short(errors: dict[str, Any]) -> None:
    body = Invalid("Some fields are not valid: see `errors`.", errors=errors).body()
    assert len(str(body)) < 2_000
    assert (f"the first {MAX_ERRORS} errors of 100000" in body["detail"]) == (leaves(errors) == 100_000)


def test_few_errors_are_told_whole() -> None:
    errors = {"codes": {3: ["Not a valid string."]}, "service": ["Missing data for required field."]}
    assert Invalid("See `errors`.", errors=errors).body()["errors"] == errors
    assert Invalid("See `errors`.", errors=errors).body()["detail"] == "See `errors`."
