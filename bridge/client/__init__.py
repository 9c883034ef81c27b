"""The browser client: TypeScript in ``src``, what is served of it in ``dist``.

``dist`` is committed, so that nobody needs Node to serve it; the tests prove that it is what ``src`` builds.
"""

from pathlib import Path

DIST = Path(__file__).parent / "dist"
"""The built modules and their types."""
