"""How a process of the web server makes its application."""

import gc
from collections import OrderedDict

from souche.commands import serve


def test_what_an_application_is_made_of_is_kept_from_the_garbage_collector() -> None:
    before = gc.get_freeze_count()
    try:
        assert serve._application("collections:OrderedDict") == OrderedDict()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
