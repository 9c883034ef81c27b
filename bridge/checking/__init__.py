"""``bridge check``: what makes "no events" silent, found before anybody has to look for it.

Reads what the worker reads, by the same functions; each finding is a
:class:`~bridge.checking.report.Check` with the command or the SQL that mends it.  Pure: ``report``,
``settings``, ``keys``, ``tables``, ``policies``, ``circles``, ``journal``, ``nginx``, and every function that
awaits nothing.  I/O: ``project`` (HTTP), ``stream`` (joins as the worker does), ``database``
(``SUPABASE_DB_URL``), ``machine`` (this one), and ``command``, which asks them all.
"""
