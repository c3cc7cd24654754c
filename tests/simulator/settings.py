# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fleet file says about a host."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import FleetError

PAYLOADS = Path(__file__).resolve().parent / "payloads"
CLONE_NEWNET = 0x40000000


def check_keys(where: str, settings: Any, known: set[str]) -> None:
    if not isinstance(settings, dict):
        raise FleetError(f"{where} must be an object with {', '.join(sorted(known))}")
    unknown = set(map(str, settings)) - known
    if unknown:
        raise FleetError(f"{where}: unknown key {', '.join(sorted(unknown))}. The keys are {', '.join(sorted(known))}.")


@contextlib.contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """In that network namespace of `ip netns` (Linux, as root). A socket stays in the one that it was made in."""
    if namespace is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{namespace}") as other:
        if libc.setns(other.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"namespace {namespace}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(own.fileno(), CLONE_NEWNET):
                raise RuntimeError("there is no way back from the network namespace")


def read_payload(payload: Any, folder: Path) -> list[dict[str, Any]]:
    """The models of an answer, which is in a file next to the fleet file or in `payloads/`, or is given itself."""
    if isinstance(payload, str):
        own = folder / payload
        path = own if own.is_file() else PAYLOADS / payload
        try:
            payload = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise FleetError(f"there is no payload {payload}, neither in {folder} nor in {PAYLOADS}") from None
    else:
        payload = copy.deepcopy(payload)
    models: list[dict[str, Any]] = payload["models"] if isinstance(payload, dict) else payload
    return models


def tls_context(settings: dict[str, str] | None, folder: Path) -> ssl.SSLContext | None:
    if not settings:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / settings["certificate"], folder / settings["key"])
    if "client_ca" in settings:
        context.load_verify_locations(folder / settings["client_ca"])
        context.verify_mode = ssl.CERT_REQUIRED
    return context
