"""What the soak refuses before it starts anything."""

import pytest

from bridge.bench.soak import Settings, soak
from bridge.errors import ConfigError


@pytest.mark.parametrize("polling", [50, 100])
async def test_a_soak_without_clients_over_websocket_is_refused(polling: int):
    """It would show half of what it is for."""
    settings = Settings(
        minutes=1,
        clients=50,
        polling=polling,
        rate=1,
        fault_every_s=0,
        drop_every_s=1,
        workers=1,
        processes=1,
        balanced=False,
        upstream="wal",
        spare_workers=False,
        only=(),
        seed=1,
    )
    with pytest.raises(ConfigError, match=f"--polling {polling} leaves none of --clients 50 for WebSocket"):
        await soak(settings, say=print)
