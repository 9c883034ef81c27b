"""A Chromium for each test."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.support.chromium import chromium


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser without pages."""
    async with chromium() as running:
        yield running
