"""processes: the name of this process, and whether one of that name is known to have ended.

Takes and gives ``host:number``. Of a process on another machine nothing is known here; only its heartbeat tells.
"""

from __future__ import annotations

import os
import socket


def this_process() -> str:
    """The name of this process, at most 80 characters."""
    return f"{socket.gethostname()}:{os.getpid()}"[-80:]


def is_gone(process: str) -> bool:
    """Whether the process was on this machine and no process has its number any more."""
    host, _, number = process.rpartition(":")
    if not number.isdecimal() or host != socket.gethostname()[-80:]:
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
