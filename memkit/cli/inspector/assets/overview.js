// The first view: how much there is, where answers come from, scopes, disk, and the router.

function showOverview(memory, open) {
  const { totals, disk } = memory;
  const onDisk = disk && Object.values(disk).reduce((sum, size) => sum + size, 0);
  const tiles = [
    ["Records", count(totals.records), `${count(totals.versions)} versions`],
    ["Held in weights", count(totals.held), share(totals.held, totals.records) + " of records"],
    ["Modules", count(totals.modules), memory.base || "nothing trained yet"],
    ["Scopes", count(memory.scopes.length), "who may see what"],
    ["Turns", count(totals.turns), "of conversations"],
    disk
      ? ["On disk", bytes(onDisk), "ledger, index, adapters"]
      : ["Passages", count(totals.passages), "in the index"],
  ];
  byId("overview").replaceChildren(
    el("div", { class: "cards" },
      el("dl", { class: "tiles" }, tiles.map(([name, value, more]) =>
        el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value, el("span", { class: "quiet" }, more))))),
      notes(memory),
      placesCard(memory, open),
      scopesCard(memory, open),
      disk && diskCard(disk, onDisk),
      roomCard(memory, open),
      routerCard(memory),
    ),
  );
}

/** What the reader has to know about this page. */
function notes(memory) {
  const { totals } = memory;
  const said = [];
  if (memory.scope) said.push(`Shows only the scope ${scopeName(memory.scope)} and narrower ones. Events and disk use are of the whole memory, and left out.`);
  if (memory.left_out) said.push(`Shows the latest ${plural(memory.size, "record")}; ${count(memory.left_out)} earlier ones are left out.`);
  const cut = Object.keys(memory.cut).length;
  if (cut) said.push(`${plural(cut, "text")} longer than ${count(memory.longest)} characters ${cut === 1 ? "is" : "are"} cut off; search sees the part that is here.`);
  if (totals.expired) said.push(`${plural(totals.expired, "record")} expired and not yet destroyed: see “memory.retention.sweep()”.`);
  if (totals.unindexed) said.push(`${plural(totals.unindexed, "record")} not yet in the index: the next opening adds them.`);
  return said.length ? el("div", { class: "card whole" }, said.map((text) => el("p", {}, text))) : null;
}

function placesCard(memory, open) {
  const modules = memory.modules.map((_, number) => number).sort((a, b) => memory.inModule[b] - memory.inModule[a]);
  const inIndex = memory.size - memory.inModule.reduce((sum, n) => sum + n, 0);
  const shown = modules.slice(0, 40).sort((a, b) => a - b);
  const inOthers = modules.slice(40).reduce((sum, m) => sum + memory.inModule[m], 0);
  const legend = modules.slice(0, 9).sort((a, b) => a - b).map((m) =>
    el("button", { type: "button", class: "link", onclick: () => open("records", { module: String(m) }) },
      el("span", { class: "tag" }, dot(m), `${memory.modules[m].name}: ${count(memory.inModule[m])}`)));
  return card("Where answers come from",
    el("div", { class: "stack", role: "img", "aria-label": `${count(memory.size - inIndex)} records in modules, ${count(inIndex)} in the index alone` },
      shown.map((m) => el("span", { style: { flex: String(memory.inModule[m]), background: colour(m) }, title: memory.modules[m].name })),
      inOthers ? el("span", { style: { flex: String(inOthers), background: "var(--accent)" }, title: "other modules" }) : null,
      el("span", { style: { flex: String(inIndex) }, title: "index alone" })),
    el("div", { class: "legend" }, legend,
      modules.length > 9 ? el("span", { class: "quiet" }, `and ${plural(modules.length - 9, "more module")}`) : null,
      el("button", { type: "button", class: "link", onclick: () => open("records", { module: "-1" }) },
        el("span", { class: "tag" }, dot(-1), `index alone: ${count(inIndex)}`))),
    el("p", { class: "quiet" }, "Every record is in the index. Those that a module recalls are answered from weights as well."));
}

function scopesCard(memory, open) {
  const order = memory.scopes.map((_, n) => n).sort((a, b) => memory.inScope[b] - memory.inScope[a]);
  const most = Math.max(1, ...memory.inScope);
  const items = order.slice(0, 200).map((n) =>
    el("li", {},
      el("button", { type: "button", class: "link", onclick: () => open("records", { scope: String(n) }) }, memory.scopeNames[n]),
      el("span", { class: "number quiet" }, `${count(memory.inScope[n])} · ${share(memory.heldInScope[n], memory.inScope[n])} held`),
      meter(memory.inScope[n] / most)));
  const more = order.length > 200 ? el("p", { class: "quiet" }, `${count(order.length - 200)} smaller scopes are in the list of the Records view.`) : null;
  return card("Scopes", el("ul", { class: "lines scroll", tabindex: order.length > 5 ? "0" : null, "aria-label": "Scopes" }, items), more);
}

function diskCard(disk, total) {
  const named = { ledger: "Ledger: all texts, vectors, words", index: "Index files, made from the ledger", adapters: "Adapters, the weights of modules", other: "Other files" };
  return card("Disk", el("ul", { class: "lines" }, Object.entries(disk).filter(([part, size]) => size || part !== "other").map(([part, size]) =>
    el("li", {}, el("span", {}, named[part]), el("span", { class: "number" }, bytes(size)), meter(size / Math.max(1, total))))));
}

/** How full the modules are, the fullest first. */
function roomCard(memory, open) {
  const known = memory.modules.map((module, n) => [n, fullness(module)]).filter(([, full]) => full !== null);
  known.sort((a, b) => b[1] - a[1]);
  if (!known.length) return card("Room in the modules", el("p", { class: "quiet" }, "No module has been trained yet."));
  const items = known.slice(0, 3).map(([n, full]) => {
    const { name, tokens, room } = memory.modules[n];
    return el("li", {}, el("span", { class: "tag" }, dot(n), name), el("span", { class: "number" }, `≈ ${count(tokens)} of ${count(room)} answer tokens`), meter(full, colour(n)));
  });
  const more = known.length > 3 ? el("button", { type: "button", class: "link", onclick: () => open("modules") }, `All ${count(known.length)} modules`) : null;
  return card("Room in the modules", el("ul", { class: "lines" }, items), more);
}

function routerCard(memory) {
  const measured = memory.calibration;
  if (!measured) return wideCard("Router", el("p", { class: "quiet" }, "Not calibrated: no module has been trained yet."));
  const percent = (part) => `${(100 * part).toFixed(1)} %`;
  return wideCard("Router", el("div", { class: "split" },
    el("dl", { class: "pairs wide" },
      ["Evidence needed for a module", measured.threshold.toFixed(2),
        "Own questions refused", percent(measured.false_refusal),
        "General prompts let pass", percent(measured.false_activation),
        "Questions let pass whose record was left out", percent(measured.unstored),
        "Changes since it was measured", count(measured.changes)]
        .map((text, place) => el(place % 2 ? "dd" : "dt", {}, text))),
    reliability(measured.curve)));
}

function wideCard(...given) {
  const made = card(...given);
  made.classList.add("whole");
  return made;
}

/** How often the router was right, by how sure it was. */
function reliability(curve) {
  if (!curve.length) return null;
  const [left, top, wide, high] = [40, 10, 420, 130];
  const x = (value) => left + wide * value;
  const y = (value) => top + high * (1 - value);
  const ticks = [0, 0.5, 1].map((value) => [
    svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${100 * value}%`),
    svg("line", { class: "axis", x1: left, x2: left + wide, y1: y(value), y2: y(value) }),
    svg("text", { x: x(value), y: top + high + 16, "text-anchor": "middle" }, `${100 * value}%`),
  ]);
  return el("figure", {},
    svg("svg", { class: "chart", viewBox: "0 0 480 164", role: "img", "aria-label": "Reliability: observed share by predicted probability" },
      ...ticks.flat(),
      svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
      svg("polyline", { class: "trace", points: curve.map(([sure, right]) => `${x(sure)},${y(right)}`).join(" ") }),
      ...curve.map(([sure, right, n]) => svg("circle", { class: "point", cx: x(sure), cy: y(right), r: 3 + Math.min(4, n / 40) },
        svg("title", {}, `${percentOf(sure)} sure, ${percentOf(right)} right, ${n} questions`)))),
    el("figcaption", { class: "quiet" }, "How often a stored fact was meant, by how sure the router was."));
}

const percentOf = (part) => `${Math.round(100 * part)}%`;
