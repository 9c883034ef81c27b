"""A local Supabase-compatible stack: a development and test tool, not for production.

``postgres`` runs an embedded Postgres with Supabase's roles and ``auth`` schema, which ``guard`` ends if
we are killed; ``api`` is a process of its own that speaks what the bridge needs of Supabase: Realtime's
Postgres changes (``realtime`` with ``phoenix``, ``subscriptions`` and ``keys``; ``feed`` with ``changes``
and ``bridge.pgoutput``) and ``/rest/v1/rpc`` (``rest`` with ``postgrest``).  Its frames are held to
recordings of a real Realtime server (tests/protocol/).  ``stack`` starts and stops both.
"""
