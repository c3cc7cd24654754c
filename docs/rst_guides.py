# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guides for docs.ansible.com, which takes reStructuredText only: `docs/docsite/extra-docs.yml` and `docs/docsite/rst`, made of the pages here.

    python docs/rst_guides.py

They are made for a release and are not in the repository, so that each page has one source. It knows the Markdown that these pages use, and
fails on any other.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

HERE = Path(__file__).parent
NAME = "gpufleet.lmstudio"
LABEL = f"ansible_collections.{NAME}.docsite."
PLUGINS = {
    "reference/index.rst": f":ref:`{{}} <plugins_in_{NAME}>`",
    "reference/record.md": f":ansplugin:`{{}} <{NAME}.model_info#module>`",
    "reference/report.md": f":ansplugin:`{{}} <{NAME}.fleet_report#module>`",
}
LICENCE = """..
  Copyright (c) 2026, the gpufleet.lmstudio authors
  GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

"""
LANGUAGES = {"yaml": "yaml+jinja"}
TOCTREE = re.compile(r"```\{toctree\}\n:caption: ([^\n]+)\n:hidden:\n\n(.*?)```", re.DOTALL)


class Page:
    """A page as reStructuredText."""

    def __init__(self, name: str, others: set[str], base: str) -> None:
        self.name, self._others, self._base = name, others, base
        text = (HERE / f"{name}.md").read_text(encoding="utf-8")
        tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
        self.text = LICENCE + "\n".join(self._block(node) for node in tree.children)

    def _block(self, node: SyntaxTreeNode) -> str:
        made: str = getattr(self, f"_{node.type}")(node)
        return made

    def _html_block(self, _node: SyntaxTreeNode) -> str:
        return ""

    def _heading(self, node: SyntaxTreeNode) -> str:
        title = self._inline(node.children[0])
        plain = node.children[0].content.replace("`", "")
        anchor = re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-")
        label = self.name if node.tag == "h1" else f"{self.name}.{anchor}"
        return f".. _{LABEL}{label}:\n\n{title}\n{'=-~'[int(node.tag[1]) - 1] * len(title)}\n"

    def _paragraph(self, node: SyntaxTreeNode) -> str:
        return self._inline(node.children[0]) + "\n"

    def _bullet_list(self, node: SyntaxTreeNode) -> str:
        return "\n".join(indented("- ", "\n".join(map(self._block, item.children))) for item in node.children) + "\n"

    def _ordered_list(self, node: SyntaxTreeNode) -> str:
        return "\n".join(indented("#. ", "\n".join(map(self._block, item.children))) for item in node.children) + "\n"

    def _fence(self, node: SyntaxTreeNode) -> str:
        return f".. code-block:: {LANGUAGES.get(node.info, node.info or 'text')}\n\n" + indented("    ", node.content)

    def _table(self, node: SyntaxTreeNode) -> str:
        rows = [row for part in node.children for row in part.children]
        cells = [indented("* ", "".join(indented("- ", self._inline(cell.children[0])) for cell in row.children)) for row in rows]
        return ".. list-table::\n    :header-rows: 1\n\n" + indented("    ", "".join(cells))

    def _inline(self, node: SyntaxTreeNode) -> str:
        """The text of a paragraph in one line. A mark has to stand apart from letters, which an escaped space does."""
        made = ""
        for child in node.children:
            if child.type == "text":
                part = re.sub(r"([\\*`|]|(?<=\w)_(?!\w))", r"\\\1", child.content)
            elif child.type in ("softbreak", "hardbreak"):
                part = " "
            else:
                part = self._mark(child)
                if made and not re.search(r"[\s\-:/'\"<(\[{]$", made):
                    part = r"\ " + part
                part += r"\ "
            made += part
        return re.sub(r"\\ (?=[\s.,:;!?)\]}'\"/\\-]|$)", "", made)

    def _mark(self, node: SyntaxTreeNode) -> str:
        if node.type == "code_inline":
            return f"``{node.content}``"
        text = plain_text(node)
        if node.type == "strong":
            return f"**{text}**"
        if node.type == "em":
            return f"*{text}*"
        if node.type == "link":
            return self._link(text.replace("<", r"\<"), str(node.attrs["href"]))
        raise NotImplementedError(f"{self.name}.md: {node.type}")

    def _link(self, text: str, target: str) -> str:
        page, _sign, anchor = target.partition("#")
        if page in PLUGINS:
            return PLUGINS[page].format(text)
        name = page.removesuffix(".md") or self.name
        if "://" not in target and name in {*self._others, self.name}:
            return f":ref:`{text} <{LABEL}{name}{anchor and '.' + anchor}>`"
        if "://" not in target:
            target = self._base + (target.removeprefix("../") if target.startswith("../") else f"docs/{target}")
        return f"`{text} <{target}>`__"


def plain_text(node: SyntaxTreeNode) -> str:
    return node.content or "".join(" " if child.type == "softbreak" else plain_text(child) for child in node.children)


def indented(first: str, text: str) -> str:
    """The text with its first line behind `first`, and the others below it."""
    lines = text.rstrip("\n").split("\n")
    rest = " " * len(first)
    return "\n".join([first + lines[0], *(rest + line if line else "" for line in lines[1:])]) + "\n"


def main() -> None:
    galaxy = yaml.safe_load((HERE.parent / "galaxy.yml").read_text(encoding="utf-8"))
    base = f"{galaxy['repository']}/blob/{galaxy['version']}/"
    sections = {caption: listed.split() for caption, listed in TOCTREE.findall((HERE / "index.md").read_text(encoding="utf-8"))}
    del sections["About"]
    sections["Reference"] = ["troubleshooting"]
    pages = {page for listed in sections.values() for page in listed}
    folder = HERE / "docsite" / "rst"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for page in pages:
        (folder / f"{page}.rst").write_text(Page(page, pages, base).text, encoding="utf-8")
    index = "".join(
        f"  - title: {title}\n    toctree:\n" + "".join(f"      - {page}\n" for page in listed) for title, listed in sections.items()
    )
    licence = "".join(f"# {line.strip()}\n" for line in LICENCE.splitlines()[1:4])
    (HERE / "docsite" / "extra-docs.yml").write_text(f"---\n{licence}\nsections:\n{index}", encoding="utf-8")
    print(f"{len(pages)} guides in {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
