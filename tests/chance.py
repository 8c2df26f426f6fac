"""How many made-up cases are tried of each law: the same few each time, or many new ones.

`make test` tries the same ones again, so that it fails for a change and not by chance. With SOUCHE_EXAMPLES=20 twenty
times as many are tried, other ones each time: `make test-hours` looks for what nobody thought of.
"""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("SOUCHE_EXAMPLES", "1"))
_EXAMPLES = 50


def load_profile() -> None:
    """Has Hypothesis do so. Nothing of it is timed: the machine may have other things to do."""
    settings.register_profile(
        "souche",
        max_examples=_EXAMPLES * TIMES,
        derandomize=TIMES == 1,
        print_blob=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    settings.load_profile("souche")


def examples(number: int) -> settings:
    """So many, where they are costly or each says much."""
    return settings(max_examples=number * TIMES)
