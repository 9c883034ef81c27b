"""Looks at a project's policies for people: ``bridge explain`` and ``bridge verify``."""

from bridge.inspection.database import DirectDatabase
from bridge.inspection.explain import explain
from bridge.inspection.verify import Report, Verified, verify

__all__ = ["DirectDatabase", "Report", "Verified", "explain", "verify"]
