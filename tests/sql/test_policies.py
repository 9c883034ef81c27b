"""Who may do what with the reference schema: each policy as owner, participant, stranger and anon."""

import uuid

import pytest

from tests.sql.conftest import Actors

DENIED = "42501"
"""SQLSTATE of a WITH CHECK that fails, and of a privilege that is missing."""


@pytest.mark.parametrize(
    ("who", "dialogs", "participants", "messages"),
    [("owner", 1, 1, 2), ("participant", 1, 1, 2), ("stranger", 1, 0, 0)],
)
def test_select(actors: Actors, who: str, dialogs: int, participants: int, messages: int):
    """Owner and participant read the dialog, its participants and messages; a stranger only their own."""
    user = getattr(actors, who)
    assert actors.affected(user, "select * from public.dialogs") == dialogs
    assert actors.affected(user, "select * from public.dialog_participants") == participants
    assert actors.affected(user, "select * from public.messages") == messages


@pytest.mark.parametrize("table", ["dialogs", "dialog_participants", "messages"])
@pytest.mark.parametrize("verb", ["select * from", "delete from"])
def test_anon_may_nothing(actors: Actors, table: str, verb: str):
    """Somebody who has not signed in has no privilege at all."""
    assert actors.affected(None, f"{verb} public.{table}", role="anon") == DENIED


def test_an_authenticated_token_without_a_subject_sees_nothing(actors: Actors):
    """auth.uid() is NULL then, and NULL equals nobody."""
    assert actors.affected(None, "select * from public.dialogs") == 0
    assert actors.affected(None, "select * from public.messages") == 0


def test_dialogs_are_created_for_oneself(actors: Actors):
    """One owns what one creates; not what another should own."""
    insert = "insert into public.dialogs (owner_id, title) values (%s, 'new')"
    assert actors.affected(actors.stranger, insert, actors.stranger) == 1
    assert actors.affected(actors.stranger, insert, actors.owner) == DENIED


@pytest.mark.parametrize(("who", "rows"), [("owner", 1), ("participant", 0), ("stranger", 0)])
def test_only_the_owner_changes_and_deletes_a_dialog(actors: Actors, who: str, rows: int):
    """Others change no row, without an error."""
    user = getattr(actors, who)
    assert actors.affected(user, "update public.dialogs set title = 'z' where id = %s", actors.dialog) == rows
    assert actors.affected(user, "delete from public.dialogs where id = %s", actors.dialog) == rows


def test_a_dialog_cannot_be_given_away(actors: Actors):
    """The owner stays the owner."""
    give = "update public.dialogs set owner_id = %s where id = %s"
    assert actors.affected(actors.owner, give, actors.stranger, actors.dialog) == DENIED


@pytest.mark.parametrize(("who", "outcome"), [("owner", 1), ("participant", DENIED), ("stranger", DENIED)])
def test_only_the_owner_invites(actors: Actors, who: str, outcome: int | str):
    """A participant invites nobody, and a stranger not themselves."""
    invite = "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)"
    assert actors.affected(getattr(actors, who), invite, actors.dialog, actors.stranger) == outcome


@pytest.mark.parametrize(("who", "rows"), [("owner", 1), ("participant", 1), ("stranger", 0)])
def test_the_owner_removes_and_a_participant_leaves(actors: Actors, who: str, rows: int):
    """A stranger removes nobody."""
    remove = "delete from public.dialog_participants where dialog_id = %s and user_id = %s"
    assert actors.affected(getattr(actors, who), remove, actors.dialog, actors.participant) == rows


@pytest.mark.parametrize(("who", "rows"), [("owner", 1), ("participant", 0), ("stranger", 0)])
def test_only_the_owner_changes_a_participants_role(actors: Actors, who: str, rows: int):
    """Nobody promotes themselves."""
    promote = "update public.dialog_participants set role = 'admin' where dialog_id = %s"
    assert actors.affected(getattr(actors, who), promote, actors.dialog) == rows


@pytest.mark.parametrize(("who", "outcome"), [("owner", 1), ("participant", 1), ("stranger", DENIED)])
def test_who_is_in_a_dialog_writes_into_it(actors: Actors, who: str, outcome: int | str):
    """Owner and participant write as themselves; a stranger does not."""
    user = getattr(actors, who)
    write = "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'hi')"
    assert actors.affected(user, write, actors.dialog, user) == outcome


def test_nobody_writes_as_somebody_else(actors: Actors):
    """The sender is who is signed in."""
    write = "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'hi')"
    assert actors.affected(actors.participant, write, actors.dialog, actors.owner) == DENIED


@pytest.mark.parametrize(("who", "rows"), [("owner", 0), ("participant", 1), ("stranger", 0)])
def test_a_message_is_changed_and_deleted_by_its_sender_only(actors: Actors, who: str, rows: int):
    """The owner of the dialog does not put words into others' mouths."""
    user, message = getattr(actors, who), actors.participants_message
    assert actors.affected(user, "update public.messages set body = 'z' where id = %s", message) == rows
    assert actors.affected(user, "delete from public.messages where id = %s", message) == rows


def test_a_message_cannot_be_moved_into_a_strange_dialog(actors: Actors):
    """Its sender has to be in the dialog it moves to."""
    move = "update public.messages set dialog_id = %s where id = %s"
    message = actors.participants_message
    assert actors.affected(actors.participant, move, actors.other_dialog, message) == DENIED


def test_who_left_cannot_edit_what_they_said(actors: Actors):
    """Out of the dialog, out of its messages."""
    actors.connection.execute(
        "delete from public.dialog_participants where user_id = %s", (actors.participant,)
    )
    edit = "update public.messages set body = 'z' where id = %s"
    assert actors.affected(actors.participant, edit, actors.participants_message) == 0


def test_updated_at_follows_each_update(actors: Actors):
    """The trigger sets it, whatever the statement says."""
    actors.connection.execute(
        "update public.messages set updated_at = 'epoch' where id = %s", (actors.owners_message,)
    )
    row = actors.connection.execute(
        "select updated_at = now() from public.messages where id = %s", (actors.owners_message,)
    ).fetchone()
    assert row == (True,)


def test_ids_may_be_chosen_by_the_client(actors: Actors):
    """A page can show its message before the server has answered."""
    chosen = str(uuid.uuid4())
    insert = "insert into public.messages (id, dialog_id, sender_id, body) values (%s, %s, %s, 'mine')"
    assert actors.affected(actors.owner, insert, chosen, actors.dialog, actors.owner) == 1
