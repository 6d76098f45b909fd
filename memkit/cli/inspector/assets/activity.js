// What happened when: records added and changed, modules trained, and the memory's own events.

const ACTIVITY_AT_ONCE = 100;

class ActivityView {
  constructor(memory) {
    this.memory = memory;
    this.shown = ACTIVITY_AT_ONCE;
    this.steps = steps(memory);
    this.room = byId("activity");
    this.draw();
  }

  draw() {
    const items = this.steps.slice(0, this.shown).map(({ at, title, more }) => el("li", {}, el("span", {}, title, more ? el("span", { class: "quiet" }, ` ${more}`) : null), el("time", { class: "quiet number" }, moment(at))));
    const left = this.steps.length - this.shown;
    this.room.replaceChildren(el("div", { class: "cards" },
      el("div", { class: "card whole" }, el("h2", {}, "Records added and changed"), histogram(this.memory)),
      el("div", { class: "card whole" }, el("h2", {}, "History"),
        el("ul", { class: "lines" }, items.length ? items : el("li", {}, "Nothing has happened yet.")),
        left > 0 ? el("p", {}, el("button", { type: "button", class: "plain", onclick: () => { this.shown += ACTIVITY_AT_ONCE; this.draw(); } }, `Show more (${count(left)})`)) : null,
        el("p", { class: "quiet" }, this.memory.events === null
          ? "Events of forgetting, merging and importing are of the whole memory, and left out of a page of one scope."
          : "memkit notes forgetting, merging and importing, in numbers and never in words. The rest is read off what is stored: of a record that was forgotten nothing is left to show."))));
  }
}

/** Days of additions, trainings and events, the latest first. */
function steps(memory) {
  const { created, updated, version } = memory.records;
  const days = new Map();
  const note = (second, what) => {
    const day = Math.floor(second / 86400);
    const known = days.get(day) ?? { added: 0, changed: 0, last: 0 };
    known[what] += 1;
    known.last = Math.max(known.last, second);
    days.set(day, known);
  };
  for (let i = 0; i < memory.size; i++) {
    note(created[i], "added");
    if (version[i] > 1) note(updated[i], "changed");
  }
  const found = [...days.values()].map(({ added, changed, last }) => ({ at: last,
    title: [added ? `${plural(added, "record")} added` : null, changed ? `${plural(changed, "record")} changed` : null].filter(Boolean).join(", "), more: "on this day" }));
  for (const module of memory.modules) {
    for (const [number, at, recall] of module.versions) found.push({ at, title: `Module ${module.name} v${number} trained`, more: recall === null || recall === undefined ? "" : `recall ${figure(recall)}` });
  }
  const named = { forget: "Forgotten", merge: "Merged", import: "Imported" };
  for (const [at, kind, detail] of memory.events ?? []) {
    const told = Object.entries(detail).filter(([, value]) => value && (!Array.isArray(value) || value.length)).map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(", ") : value}`);
    found.push({ at, title: named[kind] ?? kind, more: told.join("; ") });
  }
  return found.sort((a, b) => b.at - a.at);
}

/** Bars of how many records were added or changed, by hour, day or week, as there is time. */
function histogram(memory) {
  const { created, updated } = memory.records;
  if (!memory.size) return el("p", { class: "quiet" }, "There are no records yet.");
  let [first, last] = [Infinity, -Infinity];
  for (let i = 0; i < memory.size; i++) {
    first = Math.min(first, created[i]);
    last = Math.max(last, updated[i]);
  }
  const unit = [60, 3600, 86400, 604800, 2629746].find((seconds) => (last - first) / seconds < 90) ?? 31556952;
  const named = { 60: "minute", 3600: "hour", 86400: "day", 604800: "week", 2629746: "month" }[unit] ?? "year";
  const start = Math.floor(first / unit);
  const bars = new Array(Math.floor(last / unit) - start + 1).fill(0);
  for (let i = 0; i < memory.size; i++) bars[Math.floor(updated[i] / unit) - start] += 1;
  const most = Math.max(...bars);
  const [wide, high] = [1000, 150];
  const each = wide / Math.max(12, bars.length);
  return el("figure", {},
    svg("svg", { class: "chart", viewBox: `0 0 ${wide} ${high + 8}`, role: "img", "aria-label": `Records by ${named}, at most ${most}` },
      svg("line", { class: "axis", x1: 0, x2: wide, y1: high, y2: high }),
      ...bars.map((number, place) => number ? svg("rect", { class: "added", x: place * each, width: Math.max(1, each - 2), y: high - (number / most) * (high - 16), height: (number / most) * (high - 16), rx: 2 },
        svg("title", {}, `${moment((start + place) * unit)}: ${plural(number, "record")}`)) : "")),
    el("figcaption", { class: "quiet" }, `By ${named} (UTC), from ${moment(first)} to ${moment(last)}, each record where it was last changed; at most ${count(most)}.`));
}
