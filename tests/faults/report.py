"""`python -m tests.faults.report FILE`: what the faults came to, as a table."""

import json
import sys
from pathlib import Path
from typing import Any

SERVED = ("redeemer", "issuer", "operator_bridge")


def written(figures: dict[str, Any]) -> str:
    """The report in Markdown."""
    counted, injuries = figures["counted"], figures["injuries"]
    answered = ", ".join(f"{number} {what}" for what, number in sorted(figures["answered"].items()))
    lines = [
        f"{len(figures['plans'])} plans, {sum(injuries.values())} faults, {counted['requests']} requests, "
        f"{figures['losses']} losses",
        *(f"{plan} failed: {why}" for plan, why in figures["failed"].items()),
        f"{counted.get('answers thrown away', 0)} answers thrown away, "
        f"{counted.get('answers asked for once more', 0)} asked for once more, "
        f"{counted.get('restarts', 0)} workers ended by themselves and were started again",
        answered,
        "",
        f"| fault | times | took hold | longest without {' | '.join(SERVED)}, s | longest to agreement, s |",
        f"|---|---|---|{'---|' * (len(SERVED) + 1)}",
    ]
    return "\n".join(lines + [_row(figures, name) for name in sorted(injuries)])


def _row(figures: dict[str, Any], name: str) -> str:
    gaps = figures["without_service"].get(name, {})
    cells = [
        name,
        str(figures["injuries"][name]),
        str(figures["showed"].get(name, 0)),
        *(f"{gaps.get(service, float('nan')):.1f}" for service in SERVED),
        f"{figures['to_agreement'].get(name, float('nan')):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(written(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))) + "\n")
