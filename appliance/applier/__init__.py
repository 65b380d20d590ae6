"""Transactions: verify → plan → apply → read back → commit, by one daemon that alone may change the engine.

=================  ====================================================================================================
``plan.py``        pure: files of the old and the new revision → frozen steps with their effect
``expect.py``      pure: what the engine must say of a section, and how to compare it with what it does say
``confirm.py``     pure: how much of a confirm window is left, over restarts and clock jumps
``generations.py`` the engine's configuration on disk: whole directories, one of them in force
``readback.py``    asks the engine for every changed object
``apply.py``       walks the steps of a plan; on any failure the former generation stands again
``journal.py``     what is applied, under way, waiting to be confirmed: survives kill -9
``desired.py``     document → files; ``keyfile.py`` opens secrets; ``blame.py``: which field no file can carry
``service.py``     the operations: plan, verify, apply, confirm, rollback, state, check; ``options.py``: what they pass on
``admission.py``   what a commit must pass before anything is changed
``convergence.py`` puts the newest committed revision in force, at start and whenever the store is ahead
``handing.py``     hands secrets in the clear to the processes that need them
``schedule.py``    revisions that wait for their time
``refreshing.py``  the revision in force, made anew when the names that it mentions mean something else
``upkeep.py``      what is due now and then: verify an engine, close a confirm window, apply what was scheduled
``collect.py``     removes runtime values of deleted objects
``sockets.py``     where the engine really listens
``link.py``        the connection to the engine; ``enginelog.py``: what it says in its log of objects that it refuses
``server.py``      the Unix socket; ``client.py`` its other end; ``python -m appliance.applier`` runs the daemon
=================  ====================================================================================================

The commit point is the store's ``promote``. Whatever dies before it is undone at the next start, whatever dies after
it is completed: the configuration on disk is whole at every moment, because a generation is a directory that nobody
reads until one ``rename`` puts it in force.
"""
