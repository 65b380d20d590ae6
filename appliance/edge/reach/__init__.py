"""What is tested from a branch, line by line, by a user without any privilege: no raw sockets, no other programs.

====================  ================================================================================
:mod:`.ping`          whether a host answers, how fast, how evenly
:mod:`.trace`         by which routers the way to it goes, and how large packets may be
:mod:`.names`         what each name server says of a name
:mod:`.gateway`       where the fault is: here, at the line's router, or farther away
====================  ================================================================================

Each goes by the line's device as the relay does (``SO_BINDTODEVICE``, free for everybody since Linux 5.7), so it takes the way that calls take.
"""
