// Copyright (c) 2026, the gpufleet.lmstudio authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const collator = new Intl.Collator("en", { numeric: true });
  const fixed = [
    { title: "Host", of: (host) => host.name },
    { title: "Status", of: (host) => host.status },
    { title: "Violations", of: (host) => host.wrong, down: true },
    { title: "Drift", of: (host) => host.changed, down: true },
    { title: "Loaded", of: (host) => host.bytes, down: true },
  ];
  // What a host has in a column, found without a search.
  for (const host of data.hosts) host.cells = new Map(host.has.map((cell) => [cell[0], cell]));
  const order = data.models.map((_model, number) => number).sort((a, b) => collator.compare(data.models[a][0], data.models[b][0]));
  let sort = { column: "Host", down: false };
  let page = 0;
  let everything = false;

  // Server text is only ever set as text, never as markup.
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

  const columns = () => {
    const wanted = by("model").value.trim().toLowerCase();
    const anywhere = by("anywhere").checked;
    return order.filter((number) => {
      const [key, loaded] = data.models[number];
      return key.toLowerCase().includes(wanted) && (!anywhere || loaded > 0);
    });
  };

  const shownHosts = (shown) => {
    const wanted = by("host").value.trim().toLowerCase();
    const status = by("status").value;
    const show = by("show").value;
    const byModel = by("model").value.trim() !== "";
    return data.hosts.filter((host) =>
      host.name.toLowerCase().includes(wanted) && (!status || host.status === status) &&
      (show !== "wrong" || host.wrong > 0) && (show !== "changed" || host.changed > 0) &&
      (show !== "loaded" || host.bytes > 0 || host.has.some((cell) => cell[1] !== null)) &&
      (!byModel || shown.some((number) => host.cells.has(number))));
  };

  const rank = (host, number) => {
    const cell = host.cells.get(number);
    return cell === undefined ? -2 : cell[1] === null ? -1 : Math.max(0, ...cell[1]);
  };

  const sorted = (hosts) => {
    const plain = fixed.find((column) => column.title === sort.column);
    const of = plain ? plain.of : (host) => rank(host, sort.column);
    const before = (a, b) => (typeof a === "string" ? collator.compare(a, b) : a - b);
    hosts.sort((a, b) => before(of(a), of(b)) * (sort.down ? -1 : 1) || collator.compare(a.name, b.name));
    return hosts;
  };

  const heading = (column, title, largestFirst) => {
    const cell = element("th");
    cell.scope = "col";
    const button = element("button", title);
    button.type = "button";
    button.dataset.column = column;
    const active = sort.column === column;
    if (active) {
      cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      button.append(element("span", sort.down ? " ↓" : " ↑"));
    }
    button.addEventListener("click", () => {
      // What is largest is what one looks for in a column of numbers.
      sort = { column, down: active ? !sort.down : largestFirst };
      page = 0;
      draw();
      by("place").querySelector(`button[data-column="${column}"]`).focus();
    });
    cell.append(button);
    return cell;
  };

  const cellOf = (host, number) => {
    const has = host.cells.get(number);
    const what = `${data.models[number][0]} on ${host.name}: `;
    let cell;
    if (has === undefined) {
      cell = element("td", "–", "absent");
      cell.title = what + "absent";
    } else if (has[1] === null) {
      cell = element("td", "listed", "listed");
      cell.title = what + "listed, not loaded" + (has[2] ? "; " + has[2] : "");
      if (has[3] > 1) cell.textContent += ` ${has[3]} times`;
    } else {
      const contexts = has[1].map((context) => (context === null ? "?" : String(context)));
      cell = element("td", contexts.join("\n") + (has[3] > 1 ? `\nlisted ${has[3]} times` : ""), "loaded");
      cell.title = what + "loaded, context " + contexts.join(", ") + (has[2] ? "; " + has[2] : "");
    }
    return cell;
  };

  const row = (host, shown) => {
    const made = element("tr");
    const name = element("th", host.name);
    name.scope = "row";
    made.append(name);
    const status = element("td");
    status.append(element("span", host.status, "badge " + (host.status === "ok" ? "good" : "bad")));
    made.append(status, element("td", String(host.wrong), host.wrong ? "bad-text" : ""), element("td", String(host.changed)), element("td", host.size));
    if (host.why) {
      const why = element("td", host.why, "why");
      why.colSpan = Math.max(shown.length, 1);
      made.append(why);
    } else {
      for (const number of shown) made.append(cellOf(host, number));
    }
    return made;
  };

  const draw = () => {
    const shown = columns();
    const hosts = sorted(shownHosts(shown));
    const rows = everything ? hosts.length : Number(by("rows").value);
    const pages = Math.max(1, Math.ceil(hosts.length / Math.max(rows, 1)));
    page = Math.min(page, pages - 1);
    const table = element("table", undefined, "matrix");
    table.append(element("caption", "Each host with its models: the context of what is loaded, listed, or absent", "hidden-title"));
    const head = element("tr");
    for (const column of fixed) head.append(heading(column.title, column.title, column.down === true));
    for (const number of shown) head.append(heading(number, data.models[number][0], true));
    const thead = element("thead");
    thead.append(head);
    const body = element("tbody");
    for (const host of hosts.slice(page * rows, (page + 1) * rows)) body.append(row(host, shown));
    if (hosts.length === 0) {
      const none = element("td", "No host matches.");
      none.colSpan = fixed.length + shown.length;
      const only = element("tr");
      only.append(none);
      body.append(only);
    }
    table.append(thead, body);
    by("place").replaceChildren(table);
    by("matches").textContent = `${hosts.length} of ${count(data.hosts.length, "host")}, ${shown.length} of ${count(data.models.length, "model")}` + (pages > 1 ? `, page ${page + 1} of ${pages}.` : ".");
    by("page").textContent = `Page ${page + 1} of ${pages}`;
    by("pages").hidden = pages < 2;
    by("previous").disabled = page === 0;
    by("next").disabled = page === pages - 1;
  };

  const again = () => {
    page = 0;
    draw();
  };
  for (const status of [...new Set(data.hosts.map((host) => host.status))].sort()) by("status").append(element("option", status));
  by("controls").addEventListener("input", again);
  by("controls").addEventListener("reset", () => setTimeout(again));
  by("controls").addEventListener("submit", (event) => event.preventDefault());
  const turn = (by_pages, used, other) => {
    page += by_pages;
    draw();
    // A button that is disabled would lose the focus to the top of the page.
    if (by(used).disabled) by(other).focus();
  };
  by("previous").addEventListener("click", () => turn(-1, "previous", "next"));
  by("next").addEventListener("click", () => turn(1, "next", "previous"));

  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { by("theme").textContent = isDark() ? "Light colours" : "Dark colours"; };
  by("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  name();

  // On paper there are no pages to turn, as long as it does not become a book.
  addEventListener("beforeprint", () => { everything = data.hosts.length * data.models.length <= 20000; draw(); });
  addEventListener("afterprint", () => { everything = false; draw(); });
  for (const id of ["theme", "controls", "legend"]) by(id).hidden = false;
  draw();
})();
