"""plpgsql functions, executed symbolically."""

import pytest

from bridge.authorization.functions import Function
from bridge.authorization.undecided import UndecidedError
from tests.support.catalogs import ANN, BOB, function
from tests.support.policies import answer, refused


def plpgsql(body: str, arguments: str = "room integer, who uuid", returns: str = "boolean") -> list[Function]:
    return [function("public.f", arguments, returns, body, language="plpgsql")]


F = "f(room_id, owner_id)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("begin return who = auth.uid(); end", True),
        ("begin if room = 1 then return false; end if; return true; end", False),
        ("begin if room > 1 then return false; elsif who is null then return null; else return true; end if; end", True),
        ("begin if null then return false; end if; return true; end", True),
        ("declare x boolean := false; begin if room = 1 then x := true; end if; return x; end", True),
        ("declare x uuid := who; y uuid := x; begin x := null; return y = auth.uid(); end", True),
        ("declare x text; begin select role into x from members where user_id = who; return x = 'owner'; end", True),
        ("declare x text; n int; begin select role, level into x, n from members where user_id = who; return n > 2; end", True),
        ("declare r record; begin select * into r from members where user_id = who; return r.level = 3; end", True),
        ("declare r members; begin select * into r from members where user_id = who; return r.level = 3; end", True),
        ("declare n int; begin select count(*) into n from members; return n = 3; end", True),
        ("begin perform 1 from members where user_id = who; return found; end", True),
        ("begin perform 1 from members where room_id = 9; if not found then return false; end if; return true; end", False),
        ("declare x text; begin select role into x from members where room_id = 9; return found or x is null; end", True),
        ("begin perform count(*) from members where false; return found; end", True),
        ("begin raise notice 'x'; return true; end", True),
        ("begin begin return true; end; end", True),
        ("begin case room when 2, 1 then return true; when 3 then return false; else return null; end case; end", True),
        ("declare x text := 'a'; begin case when room = 1 then x := 'b'; else null; end case; return x = 'a'; end", False),
        ("declare x integer []; y text[] := array['a']; begin x := array[1]; return room = any (x) and 'a' = any (y); end", True),
        ("declare x varchar(3) := 'abc'; begin x := null; return x is null; end", True),
        ("declare x members.level%type := 1; begin return x = room; end", True),
        ("begin case when who is null then return false; else return true; end case; end", True),
        ("begin case 'x' when 'y' then return false; when 'x' then return true; end case; end", True),
        ("declare l members.level%type; begin l := 3; return l = 3; end", True),
    ],
)  # fmt: skip
def test_a_body_is_executed(body: str, expected: bool) -> None:  # noqa: FBT001
    """Assignments, IF, SELECT INTO, FOUND and RETURN."""
    assert answer(F, plpgsql(body)) is expected


def test_a_record_of_a_join_has_the_merged_column_once() -> None:
    """``SELECT *`` has a column of USING with the left side's value, also where there is no partner."""
    body = (
        "declare r record; begin select * into r from (select id as room_id from rooms) a"
        " left join members m using (room_id) where room_id = room; return r.room_id = room; end"
    )

    assert answer("f(3, owner_id)", plpgsql(body))


def test_what_raises_is_left_to_postgres() -> None:
    """Only where it is reached."""
    body = "begin if who is null then raise exception 'no'; end if; return true; end"

    assert answer(F, plpgsql(body)) is True
    with pytest.raises(UndecidedError) as caught:
        answer(F, plpgsql(body), owner_id=None)
    assert caught.value.raises


def test_the_end_without_return_is_left_to_postgres() -> None:
    """It is an error there."""
    body = "begin if who = auth.uid() then return true; end if; end"

    assert answer(F, plpgsql(body), uid=ANN) is True
    with pytest.raises(UndecidedError):
        answer(F, plpgsql(body), uid=BOB)


@pytest.mark.parametrize(
    "body",
    [
        "declare x varchar(3) := 'abcd'; begin return true and x is null; end",
        "declare x character varying(5); begin x := who::text; return x = 'a'; end",
        "declare x varchar(3); begin select role into x from members where user_id = who; return x = 'owner'; end",
    ],
)
def test_what_is_longer_than_its_variable_is_left_to_postgres(body: str) -> None:
    """It is an error there, unless only spaces are too many."""
    with pytest.raises(UndecidedError):
        answer(F, plpgsql(body))


def test_rows_of_different_values_are_left_to_postgres() -> None:
    """Which of them SELECT INTO takes is not known."""
    body = (
        "declare x uuid; begin select user_id into x from members where room_id = room; return x = who; end"
    )

    with pytest.raises(UndecidedError):
        answer(F, plpgsql(body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("begin return true; exception when others then return false; end", "EXCEPTION"),
        ("begin loop return true; end loop; end", "loop"),
        ("begin for i in 1..2 loop null; end loop; return true; end", "fori"),
        ("declare x boolean; begin execute 'select true' into x; return x; end", "dynexecute"),
        ("begin delete from members; return true; end", "execsql"),
        ("declare x text; begin select role into strict x from members; return true; end", "execsql"),
        ("declare r record; begin r.x := 1; return true; end", "could not be read|record"),
        ("declare who uuid; begin return who is null; end", "hides"),
        ("declare n numeric(3,0); begin return true; end", "length"),
        ("declare x int; begin declare y int; begin return true; end; end", "variables of its own"),
        ("declare x money; begin x := '1'; return true; end", "money"),
        ("declare room_id int; begin return exists (select 1 from members where room_id = 1); end", "a column and a variable"),
        ("begin return; end", "without a value|could not be read"),
        ("begin return nothing; end", "nothing is not known"),
        ("begin return true from members where user_id = who; end", "not one expression"),
        ("declare x boolean; begin x := true from members where false; return x; end", "not one expression"),
        ("begin if true where false then return true; end if; return false; end", "not one expression"),
        ("not plpgsql", "no BEGIN"),
        ("begin return (; end", "grammar|could not be read"),
    ],
)  # fmt: skip
def test_other_bodies_are_refused(body: str, reason: str) -> None:
    """Postgres runs them."""
    refused(F, reason, plpgsql(body))


def test_a_chain_of_many_ifs_is_refused() -> None:
    """Its branches double with each of them."""
    steps = " ".join(f"if room > {i} then x := {i}; end if;" for i in range(60))

    refused(F, "too large", plpgsql(f"declare x int := 0; begin {steps} return x > 3; end"))


def test_a_set_is_one_query() -> None:
    """``RETURN QUERY`` and nothing else."""
    body = "begin return query select m.room_id from members m where m.user_id = auth.uid(); {} end"
    one, two = (
        [function("public.g", "", "integer", body.format(more), language="plpgsql", returns_set=True)]
        for more in ("return;", "return query select 1;")
    )

    assert answer("room_id in (select g())", one)
    refused("room_id in (select g())", "RETURN QUERY", two)
