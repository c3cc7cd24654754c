// Copyright (c) 2026, the gpufleet.lmstudio authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const collator = new Intl.Collator("en", { numeric: true });
  // What is not known is null.
  const orLess = (number) => number === null ? -1 : number;
  const fixed = [
    { title: "Host", of: (host) => host.name },
    { title: "Status", of: (host) => host.status },
    { title: "Violations", of: (host) => orLess(host.wrong), down: true },
    { title: "Drift", of: (host) => orLess(host.changed), down: true },
    { title: "Loaded", of: (host) => orLess(host.bytes), down: true },
  ];
  // To find the cell of a host in a column without a search.
  for (const host of data.hosts) host.cells = new Map(host.has.map((cell) => [cell[0], cell]));
  // Those that most hosts serve come first, as the report has them.
  const order = data.models.map((_model, number) => number);
  let sort = { column: "Host", down: false };
  let page = 0;

  // Server text is only ever set as text, never as markup.
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // The name of a model or host, which may be broken after / _ and -.
  const named = (name, text, className) => {
    const made = element(name, undefined, className);
    for (const part of text.split(/(?<=[\w.][/_-])/)) made.append(part, document.createElement("wbr"));
    return made;
  };

  const orDash = (number) => number === null ? "-" : String(number);
  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

  // A part of a name, or the whole of it after =.
  const matches = (name, wanted) => wanted.startsWith("=") ? name === wanted.slice(1) : name.toLowerCase().includes(wanted.toLowerCase());
  const filters = ["host", "status", "model", "state", "context", "show"];
  const value = (id) => by(id).value.trim();

  const columns = () => {
    const anywhere = by("anywhere").checked;
    return order.filter((number) => matches(data.models[number][0], value("model")) && (!anywhere || data.models[number][1] > 0));
  };

  // Whether a single model of the host meets all filters of a model.
  const serves = (host, shown, loaded, context) => shown.some((number) => {
    const cell = host.cells.get(number);
    if (cell === undefined || (loaded && cell[1] === null)) return false;
    return !context || (cell[1] || []).some((length) => length !== null && length >= context);
  });

  const shownHosts = (shown) => {
    const [status, show, context, loaded] = [value("status"), value("show"), Number(value("context")), value("state") === "loaded"];
    const byModel = value("model") !== "" || loaded || context > 0;
    return data.hosts.filter((host) =>
      matches(host.name, value("host")) && (!status || host.status === status) &&
      (show !== "wrong" || host.wrong > 0) && (show !== "changed" || host.changed > 0) &&
      (!byModel || serves(host, shown, loaded, context)));
  };

  // The filters are in the fragment of the URL, so that what is shown can be shared.
  const toFragment = () => {
    const set = new URLSearchParams(filters.map((id) => [id, value(id)]).filter((pair) => pair[1] !== ""));
    history.replaceState(null, "", set.size ? "#" + set : "#matrix");
  };
  const fromFragment = () => {
    const set = new URLSearchParams(location.hash.slice(1));
    if (!filters.some((id) => set.has(id))) return false;
    by("anywhere").checked = false;
    for (const id of filters) {
      by(id).value = set.get(id) || "";
      // A select has no value that is not one of its options.
      if (by(id).selectedIndex === -1) by(id).value = "";
    }
    return true;
  };

  // Names that would mean something else in an Ansible pattern are left out.
  const copy = () => {
    const hosts = shownHosts(columns()).map((host) => host.name);
    const usable = hosts.filter((name) => /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name));
    // An empty limit would mean every host.
    by("limit").value = usable.length ? `--limit '${usable.join(",")}'` : "";
    by("uncopied").textContent = !usable.length ? "There is no host to copy." : usable.length < hosts.length ? `Without ${count(hosts.length - usable.length, "host")} whose name cannot be used in a pattern.` : "";
    by("copied").hidden = false;
    by("limit").select();
    if (usable.length && navigator.clipboard) navigator.clipboard.writeText(by("limit").value).catch(() => {});
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
    const button = named("button", title);
    button.type = "button";
    button.dataset.column = column;
    const active = sort.column === column;
    if (active) {
      cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      button.append(element("span", sort.down ? " ↓" : " ↑"));
    }
    button.addEventListener("click", () => {
      // In a column of numbers, people look for the largest first.
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
    const details = has && data.texts[has[2]] ? "; " + data.texts[has[2]] : "";
    const what = `${data.models[number][0]} on ${host.name}: `;
    let cell;
    if (has === undefined) {
      cell = element("td", "–", "absent");
      cell.title = what + "absent";
    } else if (has[1] === null) {
      cell = element("td", "listed", "listed");
      cell.title = what + "listed, not loaded" + details;
      if (has[3] > 1) cell.textContent += ` ${has[3]} times`;
    } else {
      const contexts = has[1].map((context) => (context === null ? "?" : String(context)));
      cell = element("td", contexts.join("\n") + (has[3] > 1 ? `\nlisted ${has[3]} times` : ""), "loaded");
      cell.title = what + "loaded, context " + contexts.join(", ") + details;
    }
    return cell;
  };

  const row = (host, shown) => {
    const made = element("tr");
    const name = element("th");
    const link = named("a", host.name);
    link.href = "#" + new URLSearchParams({ host: "=" + host.name });
    name.scope = "row";
    name.append(link);
    made.append(name);
    const status = element("td");
    status.append(element("span", host.status, "badge " + (host.status === "ok" ? "good" : "bad")));
    made.append(status, element("td", orDash(host.wrong), host.wrong ? "bad-text" : ""), element("td", orDash(host.changed)), element("td", host.size));
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
    const rows = Number(by("rows").value);
    const pages = Math.max(1, Math.ceil(hosts.length / rows));
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
    by("copied").hidden = true;
    draw();
  };
  const changed = () => { again(); toFragment(); };
  for (const status of [...new Set(data.hosts.map((host) => host.status))].sort()) by("status").append(element("option", status));
  by("controls").addEventListener("input", changed);
  by("controls").addEventListener("reset", () => setTimeout(changed));
  by("copy").addEventListener("click", copy);
  addEventListener("hashchange", () => {
    if (!fromFragment()) return;
    again();
    by("matrix").scrollIntoView();
  });
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

  for (const id of ["theme", "controls", "legend"]) by(id).hidden = false;
  // The plain table is for paper, and for readers without a script.
  by("plain").className = "paper";
  if (fromFragment()) setTimeout(() => by("matrix").scrollIntoView());
  draw();
})();
