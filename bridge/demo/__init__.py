"""``bridge demo`` and ``bridge local``: everything from nothing, on this machine.

In: a port.  Out: a running stack with four users and two dialogs, and for the demo the bridge
itself with a chat page.  Owns every process it starts; all of them end with it.
"""

from bridge.demo.run import run_demo, run_local

__all__ = ["run_demo", "run_local"]
