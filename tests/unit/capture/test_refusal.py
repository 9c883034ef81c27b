"""What a database's refusals mean."""

import pytest

from bridge.capture.refusal import (
    POOLER,
    ROLE,
    RUNNING,
    Facts,
    ReplicationError,
    explain,
    judge,
    redacted,
)

FINE = {
    "wal_level": "logical",
    "publishes_inserts": True,
    "published": True,
    "journal": True,
    "wal_sender_timeout_s": 60.0,
}


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("FATAL:  unsupported startup parameter: replication", POOLER),  # PgBouncer before 1.23
        ('ERROR:  syntax error at or near "CREATE_REPLICATION_SLOT"', POOLER),  # Supavisor
        ("FATAL:  Tenant or user not found", POOLER),
        ("FATAL:  permission denied to start WAL sender", ROLE),  # Postgres 16
        ("FATAL:  must be superuser or replication role to start walsender", ROLE),  # Postgres 15
        ("logical decoding requires wal_level >= logical", "wal_level = logical"),
        ("all replication slots are in use", "max_replication_slots"),
        ("number of requested standby connections exceeds max_wal_senders (currently 10)", "max_wal_senders"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ('FATAL:  password authentication failed for user "postgres"', "password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "pg_hba.conf"),
        ('FATAL:  database "x" does not exist', "database that exist"),
        ("connection failed: Network is unreachable", "IPv6"),
        ("[Errno -2] Name or service not known", "host that exists"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ("FATAL:  the database system is starting up", "wait: "),
        ('can no longer get changes from replication slot "x"', "max_slot_wal_keep_size"),
        ("server closed the connection unexpectedly", "log of Postgres"),
        ("Connection refused", RUNNING),
    ],
)
def test_each_refusal_has_its_advice(message: str, advice: str):
    """By its text: libpq tells no SQLSTATE of a connection that is refused."""
    error = explain(message)

    assert error.advice.startswith(advice) or advice in error.advice


def test_a_reason_is_one_short_line():
    """Whatever libpq lists."""
    error = explain("a\n\tb  " + "x" * 1000)

    assert error.reason.startswith("a b xxx")
    assert len(error.reason) == 300


def test_a_server_that_stops_is_told_from_a_network_that_fails():
    """The Gap says which."""
    assert explain("terminating connection", sqlstate="57P01").gap == "upstream_restarted"
    assert explain("server closed the connection unexpectedly").gap == "upstream_disconnected"


def test_a_database_with_everything_is_accepted():
    """Nothing is raised."""
    judge(Facts(**FINE), publication="p", table="bridge.journal")


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ({"wal_level": "replica"}, "wal_level is replica, not logical: set wal_level"),
        ({"journal": False}, "there is no table bridge.journal: apply"),
        ({"publishes_inserts": None, "published": False}, "publication p does not exist: create"),
        ({"published": False}, "does not have bridge.journal: alter publication p add table bridge.journal"),
        ({"publishes_inserts": False}, r"does not publish inserts: alter publication p set \(publish"),
    ],
)
def test_a_database_that_lacks_something_is_told_what(fact: dict[str, object], message: str):
    """Before a slot is made."""
    with pytest.raises(ReplicationError, match=message):
        judge(Facts(**{**FINE, **fact}), publication="p", table="bridge.journal")


def test_the_password_is_taken_out_of_whatever_quotes_it():
    """And nothing else is."""
    url = "postgresql://u:p%40ss@a/d"

    assert redacted('no "p@ss" at a', url) == 'no "[redacted]" at a'
    assert redacted("fine", "postgresql://u@a/d") == "fine"
    assert redacted("fine", "postgresql://[") == "fine"
