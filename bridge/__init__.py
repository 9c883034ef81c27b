"""Supabase Realtime bridge: row changes for the users who may see them.

Read ``service.py`` for the wiring, ``events.py`` for the values that flow, then one stage:
``capture`` (upstream frames to changes), ``authorization`` (who sees a change), ``fanout``
(encoding, history, outboxes), ``connection`` (sockets, tokens, HTTP).
"""

__version__ = "0.1.0"
