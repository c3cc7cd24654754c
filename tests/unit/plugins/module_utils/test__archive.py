# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a target imports from the archive that Ansible sends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import ansible
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _archive

COMPILED = """
import collections, json, sys, zipimport
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import ansible.module_utils.basic
counted, compile_source = collections.Counter(), zipimport._compile_source
def counting(path, source):
    counted[path.replace("\\\\", "/").rpartition("/")[2]] += 1
    return compile_source(path, source)
zipimport._compile_source = counting
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _archive
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _argspec
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _module
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio import record
for package in ("module_utils", "module_utils._http"):
    try:
        __import__("ansible_collections.gpufleet.lmstudio.plugins." + package + "._nothing")
    except ImportError:
        counted["no such file"] += 1
print(json.dumps(counted))
"""


TIMED_OUT = """
import socket, sys
sys.path[:0] = [sys.argv[1]]
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _archive
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.blocking import fetch
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.request import Request
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
server = socket.create_server(("127.0.0.1", 0))
try:
    fetch(make_endpoint({"url": "https://127.0.0.1:%d" % server.getsockname()[1], "timeout": 0.5}, ""), Request("GET", "/"))
except ApiError as exc:
    print(exc.status)
"""


def sent(path, **before):
    """The files as Ansible sends them to a target, in an archive. `before` has code to put in front of a file's own."""
    folder = Path(_archive.__file__).parent
    package = "ansible_collections/gpufleet/lmstudio/plugins/module_utils"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1, 6):
            archive.writestr("/".join(package.split("/")[:number]) + "/__init__.py", "")
        for inside in folder.glob("_*/"):
            if inside.is_dir():
                archive.writestr(f"{package}/{inside.name}/__init__.py", "")
        for file in folder.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            future = "from __future__ import annotations\n"
            archive.writestr(f"{package}/{file.relative_to(folder)}", text.replace(future, future + before.pop(file.stem, ""), 1))
    assert not before, "each of these is the name of a file"
    return str(path)


def test_a_file_is_never_seen_half_loaded(tmp_path):
    """What explains the deadline needs a file that the exchange may still be loading."""
    archive = sent(tmp_path / "sent.zip", tls="import time\ntime.sleep(2)\n")
    python = os.environ.get("LMSTUDIO_TARGET_PYTHON", sys.executable)
    done = subprocess.run([python, "-c", TIMED_OUT, archive], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("timeout\n", "")


def test_a_file_of_the_archive_is_compiled_once(tmp_path):
    command = [sys.executable, "-c", COMPILED, sent(tmp_path / "sent.zip"), str(Path(ansible.__file__).parent.parent)]
    counted = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert counted.pop("no such file") == 2
    assert {"_argspec.py", "endpoint.py", "models_v1.py", "response.py", "record.py", "_module.py"} <= set(counted)
    # Those that are imported before it can help.
    assert {name for name, times in counted.items() if times > 1} <= {"__init__.py", "_archive.py"}
