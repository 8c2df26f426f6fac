"""`python -m tests.faults.report FILE`: what the faults came to, as a table."""

import json
import sys
from pathlib import Path
from typing import Any


def written(figures: dict[str, Any]) -> str:
    """The report in Markdown."""
    head = (
        f"{len(figures['seeds'])} plans, {figures['injuries']} faults, {figures['requests']} requests, "
        f"{figures['losses']} losses"
    )
    answered = ", ".join(f"{number} {what}" for what, number in sorted(figures["answered"].items()))
    rows = [
        f"| {name} | {figures['longest_without_service'][name]:.1f} | "
        f"{figures['longest_to_agreement'].get(name, float('nan')):.1f} |"
        for name in sorted(figures["longest_without_service"])
    ]
    table = ["| fault | longest without service, s | longest to agreement after it, s |", "|---|---|---|", *rows]
    return "\n".join([head, answered, "", *table])


if __name__ == "__main__":
    sys.stdout.write(written(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))) + "\n")
