"""`python -m deploy.supply.sbom`: what is installed in production, as a CycloneDX 1.6 document, from the lock alone."""

import json
import sys
from typing import Any

from deploy.supply.locks import LOCKS, Pin, read


def document() -> dict[str, Any]:
    """The bill of materials: the same lock gives the same document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "souche", "bom-ref": "souche"}},
        "components": [_component(pin) for pin in sorted(read(LOCKS[0]))],
    }


def _component(pin: Pin) -> dict[str, Any]:
    address = f"pkg:pypi/{pin.name}@{pin.version}"
    hashes = [{"alg": "SHA-256", "content": each} for each in pin.hashes]
    return {
        "type": "library",
        "bom-ref": address,
        "name": pin.name,
        "version": pin.version,
        "purl": address,
        "externalReferences": [{"type": "distribution", "url": address, "hashes": hashes}],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=1) + "\n")
