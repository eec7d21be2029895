"""Shapes in the annotations are checked while the tests run; Hypothesis is deterministic."""

import os
import signal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from functools import cache

from hypothesis import settings
from jaxtyping import install_import_hook
from lightning_fabric.utilities import registry

install_import_hook("counterpoint", "beartype.beartype")
registry.entry_points = cache(registry.entry_points)  # read from disk at every fit, of which there are thousands

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; some tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=40, print_blob=True)
settings.load_profile("fixed")
