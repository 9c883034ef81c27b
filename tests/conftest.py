"""Fixtures and rules for all tests."""

import os
from collections.abc import Iterator

import pytest

from bridge.local.stack import LocalStack
from tests.support.stack import local_stack


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A local stack with the reference schema, shared by the tests of a module."""
    with local_stack() as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its promise as the first line of its docstring."""
    for item in items:
        function = getattr(item, "function", None)
        if function is not None and not (function.__doc__ or "").strip():
            raise pytest.UsageError(f"{item.nodeid} has no docstring: say what it promises, in one line")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where skips are forbidden (CI), a skipped test has failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("TESTS_FORBID_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and TESTS_FORBID_SKIPS is set: {report.longrepr}"
