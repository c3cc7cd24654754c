# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a target imports from the archive that Ansible sends it."""

from __future__ import annotations

import json
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
from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _arguments, _module, _record
try:
    from ansible_collections.gpufleet.lmstudio.plugins.module_utils import _nothing
except ImportError:
    counted["no such file"] = 1
print(json.dumps(counted))
"""


def test_a_file_of_the_archive_is_compiled_once(tmp_path):
    folder = Path(_archive.__file__).parent
    package = "ansible_collections/gpufleet/lmstudio/plugins/module_utils"
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        for number in range(1, 6):
            archive.writestr("/".join(package.split("/")[:number]) + "/__init__.py", "")
        for file in folder.glob("*.py"):
            archive.write(file, f"{package}/{file.name}")
    command = [sys.executable, "-c", COMPILED, str(tmp_path / "sent.zip"), str(Path(ansible.__file__).parent.parent)]
    counted = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert counted.pop("no such file")
    assert {"_connection.py", "_api.py", "_http.py", "_record.py", "_module.py"} <= set(counted)
    # Those that are imported before it can help.
    assert {name for name, times in counted.items() if times > 1} <= {"__init__.py", "_arguments.py", "_archive.py"}
