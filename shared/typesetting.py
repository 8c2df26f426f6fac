"""Documents to print and to read: Typst templates (https://typst.app/docs) set as PDF/UA-1, accessible PDF.

A template is a `.typ` file beside the code that fills it, and finds its data by `json(bytes(sys.inputs.data))`:
data is never markup, so nothing that a person typed can become a command. Fonts come from packages, never from the
machine: Source Sans Pro (SIL OFL) for text, DejaVu Sans Mono, in which 0, O, 1, l and I differ, for codes.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import font_source_sans_pro
import typst

_ROOT = Path(__file__).resolve().parent.parent
_FONTS = typst.Fonts(
    include_system_fonts=False,
    include_embedded_fonts=True,
    font_paths=[Path(font_source_sans_pro.__file__).parent / "files"],
)


def pdf(template: Path, data: Mapping[str, Any], made_at: datetime) -> bytes:
    """The document that a template makes of this data; the same data and instant (UTC) give the same bytes."""
    document: bytes = typst.compile(
        str(template),
        root=str(_ROOT),
        font_paths=_FONTS,
        format="pdf",
        pdf_standards="ua-1",
        timestamp=int(made_at.timestamp()),
        sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
    )
    return document
