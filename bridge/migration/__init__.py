"""``bridge migrate``: applies sql/migrations to a database, and keeps the Supabase CLI's record of it.

In: the files of ``sql/migrations`` and ``SUPABASE_DB_URL``.  Out: rows of
``supabase_migrations.schema_migrations`` (version, name, statements) as ``supabase db push`` writes them,
so that both can be used on one database.  ``statements`` and ``state`` are pure; ``database`` connects.
"""
