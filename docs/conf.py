# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The site: the guides of this folder, and what is generated from the code. `nox -s docs` builds it, without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import record_reference  # noqa: E402
import report_reference  # noqa: E402

galaxy = yaml.safe_load((HERE.parent / "galaxy.yml").read_text(encoding="utf-8"))

project = "gpufleet.lmstudio"
author = "The gpufleet.lmstudio authors"
project_copyright = f"2026, {author}"
version = release = str(galaxy["version"])
extensions = ["myst_parser", "sphinx_antsibull_ext"]
exclude_patterns = ["_build", "docsite"]
root_doc = "index"
html_theme = "furo"
html_title = f"gpufleet.lmstudio {version}"
html_copy_source = False
html_show_sphinx = False
pygments_style = "ansible"
highlight_language = "yaml+jinja"
myst_heading_anchors = 3
nitpicky = True
# Plugins of other collections are documented elsewhere, and a build needs no network.
intersphinx_mapping: dict[str, Any] = {}
suppress_warnings = ["ref.ref"]
nitpick_ignore_regex = [("envvar", "ANSIBLE_.*")]


def generate(_app: Any) -> None:
    """The references: plugins and roles, the record, the JSON report."""
    folder = HERE / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    program = Path(sys.executable).with_name("antsibull-docs")
    options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", folder]
    subprocess.run([program, "collection", *options, project], check=True)
    (folder / "record.md").write_text(record_reference.page(), encoding="utf-8")
    (folder / "report.md").write_text(report_reference.page(), encoding="utf-8")


def link_the_repository(_app: Any, page: str, source: list[str]) -> None:
    """Files beside the guides are not part of the site: link those of the release."""
    if "/" in page:
        return
    source[0] = re.sub(r"\]\(\.\./([^)]+)\)", rf"]({galaxy['repository']}/blob/{release}/\1)", source[0])


def setup(app: Any) -> None:
    app.connect("builder-inited", generate)
    app.connect("source-read", link_the_repository)
