"""Tables of legal transitions: which state of a thing may follow which.

Rows change state by set, so a rule is read backwards: `ORDER.before("accepted")` are the states from which an order may
become accepted, and the UPDATE that settles orders takes no row in another.
"""


class Transitions(dict[str, frozenset[str]]):
    """The states that may follow each state: `Transitions(draft="live", live="draining failed", …)`."""

    def __init__(self, **following: str) -> None:
        super().__init__({state: frozenset(names.split()) for state, names in following.items()})

    def before(self, state: str) -> list[str]:
        """The states from which `state` may be reached."""
        return [origin for origin, following in self.items() if state in following]
