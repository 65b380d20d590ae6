"""Uploads a file by SFTP to a server whose key is pinned: under another name first, so that nobody finds half of it.

Nothing of this machine's or user's own SSH configuration, agent or keys counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Final

import asyncssh

from appliance.core.errors import RefusedError
from appliance.notifications.model import SftpTarget
from appliance.notifications.web import resolved

CONNECT_S: Final = 15.0
KEEPALIVE_S: Final = 15


async def upload(target: SftpTarget, secret: str, name: str, pieces: AsyncIterator[bytes]) -> str:
    """Send a file; why it failed, or nothing. An existing file of that name, ours from an attempt before, is replaced.

    :param secret: a password, or a private key.
    """
    try:
        connected = await _connected(target)
    except RefusedError as error:
        return error.message
    except TimeoutError:
        return f"it can't be reached within {CONNECT_S:g} s"
    except socket.gaierror:
        return "its name can't be resolved"
    except OSError as error:
        return f"it can't be reached: {_reason(error)}"
    try:
        async with await _signed_in(target, secret, connected) as connection, connection.start_sftp_client() as client:
            await _put(client, target.directory.rstrip("/") or "/", name, pieces)
    except asyncssh.HostKeyNotVerifiable:
        return "the server's key isn't the one in the configuration"
    except asyncssh.KeyImportError:
        return "the secret isn't a private key that can be read"
    except asyncssh.PermissionDenied:
        return "the server doesn't let this user in"
    except asyncssh.SFTPError as error:
        return f"the server refuses the file: {error.reason or type(error).__name__}"
    except asyncssh.Error as error:
        return f"SSH failed: {error.reason or type(error).__name__}"
    except OSError as error:
        return f"it broke off: {_reason(error)}"
    finally:
        connected.close()
    return ""


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


async def _connected(target: SftpTarget) -> socket.socket:
    """A connection to an address that was looked at."""
    addresses = await resolved(target.host, target.port, allow_local=target.allow_local)
    for index, address in enumerate(addresses):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(made, (address.partition("%")[0], target.port))
        except BaseException as error:
            made.close()
            if not isinstance(error, OSError) or index + 1 == len(addresses):
                raise
        else:
            return made
    raise OSError("no address")  # unreachable: there is always one


async def _signed_in(target: SftpTarget, secret: str, connected: socket.socket) -> asyncssh.SSHClientConnection:
    by_key = "PRIVATE KEY" in secret
    return await asyncssh.connect(
        sock=connected,
        config=[],
        known_hosts=([asyncssh.import_public_key(target.host_key)], [], []),
        username=target.username,
        password=None if by_key else secret,
        client_keys=[asyncssh.import_private_key(secret)] if by_key else [],
        agent_path=None,
        preferred_auth="publickey" if by_key else "password,keyboard-interactive",
        gss_host=None,
        login_timeout=CONNECT_S,
        keepalive_interval=KEEPALIVE_S,
        compression_algs=None,
    )


async def _put(client: asyncssh.SFTPClient, directory: str, name: str, pieces: AsyncIterator[bytes]) -> None:
    part, whole = f"{directory}/.{name}.part", f"{directory}/{name}"
    async with client.open(part, "wb") as file:
        async for piece in pieces:
            await file.write(piece)
        with contextlib.suppress(asyncssh.SFTPError):  # an extension of OpenSSH's (fsync@openssh.com)
            await file.fsync()
    try:
        await client.posix_rename(part, whole)
    except asyncssh.SFTPOpUnsupported:
        # Without that extension a rename may not replace (draft-ietf-secsh-filexfer-02 section 6.5).
        if await client.exists(whole):
            await client.remove(whole)
        await client.rename(part, whole)
