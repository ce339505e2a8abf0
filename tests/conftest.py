"""How hypothesis behaves in all tests.

No deadlines: the machine is shared, and time is measured where time is meant.  In CI the examples are
the same at every run, so that a landing does not depend on luck; `make test-long` looks for new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "smtpguard",
    deadline=None,
    derandomize="CI" in os.environ and "LONG" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("smtpguard")
