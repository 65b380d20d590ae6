"""The technician's console: what stands at a branch shows its edge, by itself, without internet, to whoever stands before it with a telephone.

:mod:`.paths`     where its own files are
:mod:`.door`      the technician's code, and who is signed in
:mod:`.samples`   how lines were in the last minutes; :mod:`.graphs` draws it (pure)
:mod:`.app`       who asks, in which language, how errors are answered
:mod:`.pages`     lines, tests, events and logs, help from elsewhere
:mod:`.serving`   the process
:mod:`.unit`      its service

It is another user's than the edge: it has no key of the edge's, and asks its agent (:mod:`appliance.edge.asking`).
"""
