"""Load and fault tests against a stack of their own: real Postgres, sockets and processes."""
