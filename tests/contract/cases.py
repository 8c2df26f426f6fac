"""The operators that the contract suite is run against: one line each, the name of the adapter's module.

An adapter that talks to somebody has a simulator of the same name in `demo.simulators`.
"""

CASES = (
    "aptic",
    "docaposte",
    "govstack",
    "regie",
)
