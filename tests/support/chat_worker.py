"""``python -m tests.support.chat_worker``: a worker that serves the demo's page as well, so that it can be restarted alone."""

import asyncio
import json
import os
import signal

from bridge import logs
from bridge.clock import SystemClock
from bridge.config import load_config
from bridge.demo.web import DemoPages
from bridge.service import serve


async def main() -> None:
    """Run until SIGTERM."""
    pages = DemoPages(
        database_url=os.environ["CHAT_DATABASE_URL"], tokens=json.loads(os.environ["CHAT_TOKENS"])
    )
    settings = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    logs.configure(log_format="json", level="info")
    await serve(load_config(settings), stop=stop, clock=SystemClock(), routes=pages.routes())


if __name__ == "__main__":
    asyncio.run(main())
