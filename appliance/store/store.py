"""The store of revisions: see the package's docstring for how its parts work together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection

from appliance.core.document import Change, Document, changes
from appliance.core.errors import ConflictError, CorruptError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.core.model import Object
from appliance.paths import Paths
from appliance.store import queries, staging, upgrade
from appliance.store.database import PATIENT, Database, Patience
from appliance.store.diff import changed_paths
from appliance.store.encode import decode_rows, encode, kind_order
from appliance.store.migrations.document import newest_format
from appliance.store.queries import Bodies, Edit
from appliance.store.revision import Candidate, ChangeSet, Key, Revision, State
from appliance.store.sealing import LOST, Keyring
from appliance.store.staging import Met
from appliance.store.tables import TABLES_VERSION, VERSION_TABLE

SCRIPTS: Final = Path(__file__).with_name("migrations") / "tables"

MESSAGE_MAX: Final = 2000
REASON_MAX: Final = 20_000


def utc_now() -> str:
    """The time of day as a revision carries it: UTC, RFC 3339, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store:
    """Revisions of the configuration document in one database, SQLite or PostgreSQL.

    Thread-safe; any number of processes may use the same database. Every method is one transaction.
    Raises UnavailableError (``database_busy``, ``disk_full``, ``read_only``, ``database_unavailable``) and CorruptError.
    """

    def __init__(self, url: str, *, clock: Callable[[], str] = utc_now, patience: Patience = PATIENT) -> None:
        self._database = Database(
            url, version_table=VERSION_TABLE, version=TABLES_VERSION, scripts=SCRIPTS, patience=patience
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[int, Document] | None = None
        self._format = newest_format()
        try:
            upgrade.upgrade(self._database, self._clock)
        except BaseException:
            self.close()
            raise

    @classmethod
    def default(cls, paths: Paths) -> Self:
        """The store of an installation: ``CENTRALINO_STORE_URL``, else the SQLite file of its state directory."""
        return cls(os.environ.get("CENTRALINO_STORE_URL") or f"sqlite:///{paths.document_db}")

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- reading --------------------------------------------------------------------------------------------------

    def head(self) -> Revision:
        """The newest committed revision; number 0 before there is one."""
        with self._database.read() as connection:
            return queries.head(connection, self._format)

    def revision(self, number: int) -> Revision:
        """One revision. Raises NotFoundError."""
        with self._database.read() as connection:
            return queries.find(connection, number, self._format)

    def history(self, limit: int = 50, before: int | None = None) -> list[Revision]:
        """Revisions of every state, newest first; ``before``: only numbers below (for the next page)."""
        with self._database.read() as connection:
            return queries.listed(connection, limit=limit, before=before)

    def open_proposals(self) -> list[Revision]:
        """Proposals that nobody has decided on, oldest first."""
        with self._database.read() as connection:
            return queries.listed(connection, limit=1_000_000, states=[State.PROPOSED])[::-1]

    def document(self, number: int | None = None) -> Document:
        """The document at a revision, the head's by default. Objects that are the same in documents read one after the
        other are shared by them. A proposed or failed revision gives its parent's document with its changes."""
        with self._database.read() as connection:
            revision = queries.head(connection, self._format) if number is None else self._find(connection, number)
            if revision.state is State.COMMITTED:
                return self._document(connection, revision)
            below = self._document(connection, self._find(connection, revision.parent))
            return self._change_set(connection, revision).on(below)

    def changes_since(self, number: int) -> tuple[Change, ...]:
        """What has been committed since a revision."""
        with self._database.read() as connection:
            return self._diff(connection, self._find(connection, number), queries.head(connection, self._format))

    def diff(self, a: int, b: int) -> tuple[Change, ...]:
        """What differs from revision ``a`` to revision ``b``, by order of kind and id."""
        with self._database.read() as connection:
            first, second = self._find(connection, a), self._find(connection, b)
            if first.state is second.state is State.COMMITTED:
                return self._diff(connection, first, second)
        return changes(self.document(a), self.document(b))

    def change_set(self, number: int) -> ChangeSet:
        """What a proposed or failed revision would change. Of a committed one: what it changed."""
        with self._database.read() as connection:
            revision = self._find(connection, number)
            if revision.state is not State.COMMITTED:
                return self._change_set(connection, revision)
            found = self._diff(connection, self._find(connection, revision.parent), revision)
        return ChangeSet(
            tuple(one.after for one in found if one.after is not None),
            tuple((one.kind, one.id) for one in found if one.after is None),
        )

    # -- committing -----------------------------------------------------------------------------------------------

    def propose(
        self, put: Iterable[Object] = (), remove: Iterable[Key] = (), *, base: int, author: str, message: str = ""
    ) -> Revision:
        """Store a set of changes that were made looking at revision ``base``; it is not in force yet.

        Edits of objects that nobody changed since are merged onto the head. Raises ConflictError, with the paths of the
        fields, if a touched object changed meanwhile; RefusedError (``nothing_changed``) if the head has it all.
        """
        edits = _edits(put, remove, base)
        with self._database.write() as connection:
            return self._propose(connection, edits, author, message)

    def propose_staged(self, author: str, message: str = "") -> Revision:
        """Propose all that the author has staged, merged with what others committed meanwhile. It stays staged until it is
        promoted, so that a refused commit can be mended. Raises ConflictError with the paths of the fields that clash."""
        with self._database.write() as connection:
            edits = staging.restaged(connection, author, queries.head(connection, self._format))
            return self._propose(connection, edits, author, message)

    def propose_restore(self, number: int, *, author: str, message: str = "") -> Revision:
        """Propose the content of an earlier committed revision as a new one."""
        with self._database.write() as connection:
            target, head = self._find(connection, number), queries.head(connection, self._format)
            if target.state is not State.COMMITTED:
                raise RefusedError(f"revision {number} was never in force ({target.state})", "choose a committed one")
            found = self._diff(connection, head, target)
            put = [change.after for change in found if change.after is not None]
            gone = [(change.kind, change.id) for change in found if change.after is None]
            return self._propose(
                connection, _edits(put, gone, head.number), author, message or f"Restore revision {number}"
            )

    def rebase(self, number: int) -> Revision:
        """Put a proposal on top of the head: the applier's first step. Returns the revision to go on with.

        It has another number if a later one was committed first. It is the head itself, already committed, if the head
        holds all of the proposal by now. Raises ConflictError as ``propose`` does, the revision is then marked failed;
        RefusedError if the revision failed before, or was committed before the head was.
        """
        with self._database.write() as connection:
            revision, head = self._find(connection, number), queries.head(connection, self._format)
            if number == head.number:
                return head
            self._require_open(revision)
            if revision.parent == head.number:
                return revision
            edits = queries.proposal(connection, number, revision.parent)
            try:
                edits = self._merge(connection, edits, head)
            except ConflictError as error:
                conflict = error
            else:
                return self._rebased(connection, revision, head, edits)
            queries.set_state(connection, number, State.FAILED, str(conflict))
        raise conflict

    def _rebased(self, connection: Connection, old: Revision, head: Revision, edits: Sequence[Edit]) -> Revision:
        if not edits:
            queries.set_state(connection, old.number, State.SUPERSEDED, f"revision {head.number} holds all of it")
            return head
        renumber = old.number < head.number
        number = queries.next_number(connection) if renumber else old.number
        if renumber:
            queries.set_state(connection, old.number, State.SUPERSEDED, f"became revision {number}")
            queries.add(
                connection,
                Revision(number, head.number, old.author, old.time, old.message, State.PROPOSED, "", self._format),
            )
        else:
            queries.set_state(connection, number, State.PROPOSED, parent=head.number)
        queries.drop_proposal(connection, old.number)
        queries.add_proposal(connection, number, edits)
        return self._find(connection, number)

    def promote(self, number: int) -> Revision:
        """The commit point: the proposal becomes the head, in one transaction. Promoting it again changes nothing.

        Raises ConflictError if it doesn't stand on the head (``rebase`` first), RefusedError if it failed before.
        """
        with self._database.write() as connection:
            revision, head = self._find(connection, number), queries.head(connection, self._format)
            if revision.state is State.COMMITTED:
                return revision
            self._require_open(revision)
            if revision.parent != head.number or number < head.number:
                raise ConflictError(
                    f"revision {number} was made on revision {revision.parent}, the head is {head.number} by now",
                    "commit it again",
                )
            queries.apply_proposal(connection, number, revision.author)
            queries.set_state(connection, number, State.COMMITTED)
            return self._find(connection, number)

    def fail(self, number: int, reason: str) -> Revision:
        """Mark a proposal as failed; its changes can still be read. Raises RefusedError if it is committed."""
        reason = "".join(char if char >= " " or char == "\n" else " " for char in reason)[:REASON_MAX]
        with self._database.write() as connection:
            revision = self._find(connection, number)
            if revision.state is State.PROPOSED:
                queries.set_state(connection, number, State.FAILED, reason)
            elif revision.state is State.COMMITTED:
                raise RefusedError(f"revision {number} is committed", "centralino rollback brings an earlier one back")
            return self._find(connection, number)

    def withdraw(self, number: int) -> None:
        """Forget a proposal as if it had never been made, after a mere plan of it. One that was decided on stays."""
        with self._database.write() as connection:
            if self._find(connection, number).state is State.PROPOSED:
                queries.drop_proposal(connection, number)
                queries.drop(connection, number)

    # -- edits in preparation -------------------------------------------------------------------------------------

    def candidate(self, author: str, at: int | None = None) -> Candidate:
        """An author's staged changes, without those that the head holds by now; merged with what others committed meanwhile. Where
        sides clash they are as the author's.

        :param at: a committed revision to see them on instead of the head.
        """
        with self._database.read() as connection:
            return self._candidate(connection, author, at)

    def met(self, author: str) -> list[Met]:
        """An author's staged changes of objects that others have changed meanwhile, with what clashes."""
        with self._database.read() as connection:
            head = queries.head(connection, self._format)
            found = staging.meet(connection, queries.staged_edits(connection, author), head)
            return [one for one in found if one.sides is not None]

    def settle(self, author: str, key: Key, taken: Mapping[str, bool], *, seen: int) -> tuple[str, ...]:
        """Say who wins (True: the others) in each field of a staged change that clashes. Returns the fields that nothing was
        said of; then it is as it was.

        :param seen: number of the head that the author was shown.
        :raises ConflictError: somebody changed the object again since.
        :raises InvalidError: what comes out is wrong.
        """
        with self._database.write() as connection:
            return staging.settle(connection, author, key, taken, seen, queries.head(connection, self._format))

    def staged_by_others(self, author: str, keys: Iterable[Key]) -> list[tuple[str, Edit]]:
        """Who else has which of some objects among their staged changes, as these would be committed."""
        with self._database.read() as connection:
            found = queries.staged_by_others(connection, author, keys)
            if not found:
                return []
            head = queries.head(connection, self._format)
            return [(who, one.edit) for who, edits in found.items() for one in staging.meet(connection, edits, head)]

    def steps_since(self, key: Key, number: int) -> list[tuple[Revision, Any, Any]]:
        """Committed revisions after one that changed an object: (revision, the object before, after) as plain data, oldest first."""
        with self._database.read() as connection:
            return staging.steps_since(connection, key, number)

    def authors(self) -> list[str]:
        """Who has staged changes."""
        with self._database.read() as connection:
            return queries.authors(connection)

    def stage(
        self,
        author: str,
        put: Iterable[Object] = (),
        remove: Iterable[Key] = (),
        *,
        anew: bool = False,
        base: int | None = None,
    ) -> Candidate:
        """Add to an author's staged changes. An object that clashes with what others committed keeps the base that it was first
        staged on.

        :param anew: forget what was staged before.
        :param base: the committed revision that the author looked at; None: the head.
        """
        author = _line("author", author, 200, required=True)
        with self._database.write() as connection:
            head = queries.head(connection, self._format)
            on = head if base is None or base == head.number else self._find(connection, base)
            if on.state is not State.COMMITTED:
                raise NotFoundError(f"revision {on.number} was never in force", "start from a committed revision")
            if anew:
                queries.drop_staged(connection, author, None)
            since = self._clock()
            edits = staging.bases(
                connection, author, [replace(edit, since=since) for edit in _edits(put, remove, on.number)], on
            )
            queries.set_staged(connection, author, edits, self._format)
            return self._candidate(connection, author)

    def unstage(self, number: int) -> None:
        """Take a proposal's changes out of what its author has staged: they go their own way."""
        with self._database.write() as connection:
            queries.drop_staged_as_proposed(connection, number, self._find(connection, number).author)

    def restage(self, number: int) -> None:
        """Stage a failed proposal's changes again, but for objects that its author has edited since."""
        with self._database.write() as connection:
            revision = self._find(connection, number)
            since = {edit.key for edit in queries.staged_edits(connection, revision.author)}
            edits = {edit.key: edit for edit in queries.proposal(connection, number, revision.parent)}
            now = self._clock()
            kept = {key: replace(edit, since=now) for key, edit in edits.items() if key not in since}
            queries.set_staged(connection, revision.author, kept, revision.format)

    def discard(self, author: str, which: Iterable[Key] | None = None) -> None:
        """Forget an author's staged changes: all, or those of some objects."""
        with self._database.write() as connection:
            queries.drop_staged(connection, author, which)

    # -- secrets and health ---------------------------------------------------------------------------------------

    def keyring(self, path: Path) -> Keyring:
        """The key file; made if there is none, unless secrets are sealed under one that is lost (CorruptError)."""
        try:
            return Keyring.load(path)
        except NotFoundError:
            with self._database.read() as connection:
                lost = queries.has_sealed(connection)
            if lost:
                raise CorruptError(
                    f"the key file {path} is missing, and secrets are sealed under it",
                    LOST,
                    error_id="bad_key",
                ) from None
        return Keyring.load_or_create(path)

    def check(self) -> None:
        """Read everything once. Raises CorruptError if the file is damaged or an object can't be read back."""
        self._database.check()
        with self._database.read() as connection:
            head = queries.head(connection, self._format)
            upgrade.load(connection, head)

    # -- inside a transaction -------------------------------------------------------------------------------------

    def _find(self, connection: Connection, number: int) -> Revision:
        return queries.find(connection, number, self._format)

    @staticmethod
    def _require_open(revision: Revision) -> None:
        if revision.state is not State.PROPOSED:
            reason = f": {revision.reason}" if revision.reason else ""
            raise RefusedError(f"revision {revision.number} is {revision.state}{reason}", "commit the changes again")

    def _propose(self, connection: Connection, edits: Sequence[Edit], author: str, message: str) -> Revision:
        author = _line("author", author, 200, required=True)
        message = _line("message", message, MESSAGE_MAX)
        head = queries.head(connection, self._format)
        edits = self._merge(connection, edits, head)
        if not edits:
            raise RefusedError("nothing would change", "change something first", error_id="nothing_changed")
        number = queries.next_number(connection)
        revision = Revision(number, head.number, author, self._clock(), message, State.PROPOSED, "", self._format)
        queries.add(connection, revision)
        queries.add_proposal(connection, number, edits)
        return revision

    def _merge(self, connection: Connection, edits: Sequence[Edit], head: Revision) -> list[Edit]:
        """The edits that still change something on the head. Raises ConflictError for those that are stale."""
        now = queries.bodies_now(connection, [edit.key for edit in edits])
        wanted = [edit for edit in edits if now.get(edit.key) != edit.body]
        stale = []
        for base in sorted({edit.base for edit in wanted}):
            if base == head.number:
                continue
            since = self._find(connection, base)
            if since.state is not State.COMMITTED:
                raise NotFoundError(f"revision {base} was never in force", "start from a committed revision")
            touched = {edit.key for edit in wanted if edit.base == base}
            stale += [change for change in self._diff(connection, since, head) if (change.kind, change.id) in touched]
        if stale:
            raise staging.conflict([path for change in stale for path in changed_paths(change)])
        return wanted

    def _candidate(self, connection: Connection, author: str, at: int | None = None) -> Candidate:
        on = queries.head(connection, self._format) if at is None else self._find(connection, at)
        met = staging.meet(connection, queries.staged_edits(connection, author), on)
        edits = sorted((one.edit for one in met), key=lambda edit: (kind_order(edit.key[0]), edit.key))
        base = min((edit.base for edit in edits), default=on.number)
        return Candidate(*_split(edits), author=author, base=base)

    def _change_set(self, connection: Connection, revision: Revision) -> ChangeSet:
        edits = queries.proposal(connection, revision.number, revision.parent)
        return ChangeSet(*_split(upgrade.edits(edits, revision.format)))

    def _document(self, connection: Connection, revision: Revision) -> Document:
        """Loaded whole once; afterwards from the one held, by what differs."""
        with self._lock:
            held = self._held
        if held is not None and held[0] == revision.number:
            return held[1]
        if held is None:
            document = Document.of(upgrade.load(connection, revision).values())
        else:
            found = self._diff(connection, self._find(connection, held[0]), revision)
            put = [change.after for change in found if change.after is not None]
            document = held[1].with_changes(put, [(change.kind, change.id) for change in found if change.after is None])
        with self._lock:
            if self._held is None or self._held[0] < revision.number:
                self._held = (revision.number, document)
        return document

    def _diff(self, connection: Connection, first: Revision, second: Revision) -> tuple[Change, ...]:
        if first.number == second.number:
            return ()
        if {first.format, second.format} - {self._format}:
            loaded = (upgrade.load(connection, one) for one in (first, second))
            return changes(*(Document.of(objects.values()) for objects in loaded))
        low, high = sorted((first.number, second.number))
        found = queries.changed_between(connection, low, high)
        before: Bodies = {key: pair[0] for key, pair in found.items() if pair[0] is not None}
        after: Bodies = {key: pair[1] for key, pair in found.items() if pair[1] is not None}
        if first.number > second.number:
            before, after = after, before
        old, new = (decode_rows((*key, body) for key, body in bodies.items()) for bodies in (before, after))
        keys = sorted(found, key=lambda key: (kind_order(key[0]), key))
        return tuple(Change(*key, old.get(key), new.get(key)) for key in keys)


def _edits(put: Iterable[Object], remove: Iterable[Key], base: int) -> list[Edit]:
    edits = {key: Edit(key, base, None) for key in remove}
    edits.update(((item.kind, item.id), Edit((item.kind, item.id), base, encode(item))) for item in put)
    return list(edits.values())


def _split(edits: Iterable[Edit]) -> tuple[tuple[Object, ...], tuple[Key, ...]]:
    edits = list(edits)
    objects = decode_rows((*edit.key, edit.body) for edit in edits if edit.body is not None)
    return tuple(objects.values()), tuple(edit.key for edit in edits if edit.body is None)


def _line(field: str, text: str, most: int, *, required: bool = False) -> str:
    """Text that both databases take. Raises InvalidError."""
    fault = None
    if required and not text:
        fault = Fault(f"revision/{field}", "is empty", "say who", "missing")
    elif len(text) > most:
        fault = Fault(f"revision/{field}", f"is longer than {most} characters", "shorten it", "string_too_long")
    elif any((char < " " and char not in "\n\t") or "\ud800" <= char <= "\udfff" for char in text):
        fault = Fault(f"revision/{field}", "holds a control character", "leave it out", "control_character")
    if fault is not None:
        raise InvalidError([fault])
    return text
