"""For tests of many drawn inputs: how long they take to draw and to try is no matter of the test's."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
