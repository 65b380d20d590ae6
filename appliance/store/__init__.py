"""The configuration document at rest: revisions, edits in preparation, secrets, export and import.

Signatures (everything here is thread-safe; processes may share one database)::

    Store(url: str, *, clock=utc_now, patience=PATIENT)   sqlite:///… or postgresql://…; creates and upgrades tables on first use
    Store.default(paths: Paths) -> Store         CENTRALINO_STORE_URL, else STATE/store/document.db
      .close()                                   also a context manager

      # revisions: a chain 1, 2, 3 … ; 0 is the empty document before the first
      .head() -> Revision                        newest committed one (number 0 when there is none)
      .revision(number) -> Revision              NotFoundError
      .history(limit=50, before=None) -> list[Revision]      newest first, of every state
      .document(number=None) -> Document         whole document at a committed revision (None: head). Successive calls
                                                 share unchanged objects. A proposed/failed number: its parent with its changes.
      .changes_since(number) -> tuple[Change, ...]           committed since then
      .diff(a, b) -> tuple[Change, ...]          field by field for people: diff.field_changes(change)

      # committing: client proposes, applier does the rest, one revision at a time
      .propose(put, remove, *, base, author, message) -> Revision     state "proposed". put: objects, remove: (kind, id)s
                                                 ConflictError(changed=paths of fields) if a touched object changed after `base`;
                                                 edits of other objects merge. RefusedError("nothing_changed") if nothing differs
      .propose_staged(author, message) -> Revision           the author's staged changes; they stay until promoted
      .propose_restore(number, *, author, message) -> Revision   content of an old revision again
      .change_set(number) -> ChangeSet           .put: tuple[Object], .remove: tuple[(kind, id)] of a proposed or failed revision
      .rebase(number) -> Revision                applier, before it starts: puts a proposal on top of the head. Same number, or a
                                                 new one if later ones were committed meanwhile (the old one: "superseded").
                                                 ConflictError (revision then marked failed) as in propose. Returns the head,
                                                 already committed, if the head holds all of the proposal by now.
      .promote(number) -> Revision               the commit point: one transaction. ConflictError if its parent isn't the head.
                                                 Idempotent: promoting a committed revision returns it.
      .fail(number, reason) -> Revision          proposed → failed; its changes stay readable. Idempotent.
      .withdraw(number) -> None                  forgets a proposal (after a plan); nothing of it is left in the history
      .open_proposals() -> list[Revision]        those in state "proposed", oldest first (the applier's start looks here)

      # edits in preparation, per author (`set` … `commit`)
      .stage(author, put=(), remove=(), anew=False, base=None) -> Candidate    anew: what was staged before is forgotten
      .candidate(author, at=None) -> Candidate   .base (oldest), .put, .remove; .on(document) -> Document. Merged field by field
                                                 with what others committed meanwhile
      .met(author) -> list[Met] ; .settle(author, key, taken, seen=)         what clashes with it, and who wins
      .staged_by_others(author, keys) ; .steps_since(key, number)            who else edits something; who has changed it
      .discard(author, which=None) -> None       all, or some (kind, id)s
      .unstage(number) / .restage(number)        a proposal's changes out of its author's staging / a failed one's back into it

      # secrets
      .keyring(path) -> Keyring                  key file; made on first use, but never while sealed secrets need a lost one
      .check() -> None                           CorruptError if the database is damaged (doctor)

    Revision(number, parent, author, time, message, state, reason, format); state: State.PROPOSED | COMMITTED | FAILED | SUPERSEDED

    Keyring.load(path) / .load_or_create(path) / .renew(path)     renew: only when there is none, or a damaged one
      .seal(id, clear) -> str      "sealed:v1:…", bound to the secret's id
      .open(id, sealed) -> str     CorruptError naming the secret
      .reveal(document) -> dict[str, str]        secret id → clear text, of those that have a value
      .rotate() ; .reseal(document) -> list[Secret]          new key first, old ones kept for old revisions

    export_document(document, secrets=Secrets.omitted()) -> str        canonical YAML; Secrets.sealed(keyring),
                                                                       Secrets.passphrase(keyring, passphrase)
    import_document(text: bytes, *, current, keyring=None, passphrase=None) -> Imported
                                                 .document, .missing_secrets; InvalidError: every fault with path and line
    needs_passphrase(text: bytes) -> bool        whether an export's secrets are sealed under a passphrase
    field_changes(change) -> tuple[FieldChange, ...]         path, before, after as text; secrets only as "changed"

Errors: ConflictError, InvalidError, NotFoundError, RefusedError; UnavailableError (``database_busy``, ``disk_full``,
``read_only``, ``database_unavailable``); CorruptError (``corrupt``, ``bad_key``, ``key_exposed``, ``too_new``).
"""

from appliance.store.diff import FieldChange, changed_paths, field_changes
from appliance.store.exporting import Secrets, export_document
from appliance.store.importing import Imported, import_document, needs_passphrase
from appliance.store.revision import Candidate, ChangeSet, Revision, State
from appliance.store.sealing import Keyring
from appliance.store.store import Store

__all__ = [
    "Candidate",
    "ChangeSet",
    "FieldChange",
    "Imported",
    "Keyring",
    "Revision",
    "Secrets",
    "State",
    "Store",
    "changed_paths",
    "export_document",
    "field_changes",
    "import_document",
    "needs_passphrase",
]
