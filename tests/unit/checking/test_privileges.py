"""What the role of the worker's key may do is read off its own migration."""

from bridge.checking.privileges import Rights, called, judge_role


def test_what_the_worker_calls_is_what_its_role_is_granted() -> None:
    """One list, in sql/; each as Postgres finds it."""
    functions = called()
    assert "public.bridge_visible(text, text, jsonb)" in functions
    assert "bridge.journal_horizon(timestamptz)" in functions
    assert len(functions) == len(set(functions)) > 15


def test_a_role_that_only_reads_may_not_write() -> None:
    """service_role may, and that is no news; a role that is not there is nobody's."""
    more = Rights(exists=True, writable=["public.rooms"], member_of=["authenticated"])
    assert [check.status for check in judge_role("bridge_worker", more)] == ["warning", "warning"]
    assert [check.status for check in judge_role("service_role", more)] == ["ok"]
    assert [check.status for check in judge_role("bridge_worker", Rights(exists=True))] == ["ok"]
    assert [check.status for check in judge_role("gone", Rights())] == ["not_checked"]


def test_what_it_may_not_call_is_granted_by_the_fix() -> None:
    """The worker would fail at it, perhaps days later."""
    (found,) = judge_role("service_role", Rights(exists=True, uncallable=["public.f(text)"]))
    assert (found.status, found.fix) == (
        "fail",
        "grant execute on function public.f(text) to service_role;",
    )
