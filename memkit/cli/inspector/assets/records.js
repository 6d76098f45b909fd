// All records: searched, filtered, sorted; only the rows in sight are in the document.

const SORTS = ["text", "module", "scope", "version", "updated"];

class RecordsView {
  constructor(memory, detail) {
    this.memory = memory;
    this.detail = detail;
    this.filter = { query: "", module: "", scope: "" };
    this.sort = { by: "added", down: false };
    this.view = [];
    this.active = 0;
    this.keys = {};
    this.build();
    this.apply();
  }

  build() {
    const { memory } = this;
    this.search = el("input", { type: "search", placeholder: "Search text, question, answer, metadata, id", "aria-label": "Search records", autocomplete: "off", spellcheck: "false",
      oninput: settled(() => this.set({ query: this.search.value })) });
    this.module = choice("Module", moduleChoices(memory), () => this.set({ module: this.module.value }));
    this.scope = choice("Scope", scopeChoices(memory), () => this.set({ scope: this.scope.value }));
    const orders = [["added", "Order added"], ["-added", "Latest first"], ["text", "Text"], ["module", "Module"], ["scope", "Scope"], ["-version", "Most versions"], ["-updated", "Last changed"]];
    this.order = choice("Sort", orders, () => this.setSort(this.order.value.replace("-", ""), this.order.value.startsWith("-")));
    this.order.classList.add("only-narrow");
    this.counted = el("span", { class: "count quiet number", role: "status" });
    this.rows = el("div", { class: "rows", role: "rowgroup" });
    this.head = el("div", { class: "head", role: "row" });
    this.grid = el("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Records", "aria-colcount": "5",
      onscroll: () => this.scheduled(), onkeydown: (event) => this.onkey(event), onclick: (event) => this.onclick(event) },
      el("div", { role: "rowgroup", class: "headgroup" }, this.head), this.rows);
    byId("records").replaceChildren(
      el("div", { class: "bar" }, this.search, this.module, this.scope, this.order, this.counted), this.grid);
    new ResizeObserver(() => this.scheduled()).observe(this.grid);
  }

  /** Change what is shown; the fields follow. */
  set(change) {
    Object.assign(this.filter, change);
    this.search.value = this.filter.query;
    chosen(this.module, this.filter.module, () => moduleChoice(this.memory, +this.filter.module));
    chosen(this.scope, this.filter.scope, () => scopeChoice(this.memory, +this.filter.scope));
    this.apply();
  }

  setSort(by, down) {
    this.sort = { by, down };
    this.order.value = (down ? "-" : "") + by;
    this.apply();
  }

  apply() {
    this.view = this.sorted(matching(this.memory, this.filter));
    this.active = 0;
    const { size } = this.memory;
    this.counted.textContent = this.view.length === size ? plural(size, "record") : `${count(this.view.length)} of ${plural(size, "record")}`;
    this.grid.setAttribute("aria-rowcount", this.view.length + 1);
    this.heading();
    this.grid.scrollTop = 0;
    this.draw();
  }

  sorted(view) {
    const { by, down } = this.sort;
    if (by !== "added") {
      const keys = this.key(by);
      view.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
    }
    return down ? view.reverse() : view;
  }

  /** What records are sorted by; texts in small letters, scopes and modules by name. */
  key(by) {
    const { records, scopeNames, modules } = this.memory;
    if (by === "text") return (this.keys.text ??= records.text.map(folded));
    if (by === "scope") return (this.keys.scope ??= records.scope.map((n) => scopeNames[n]));
    if (by === "module") return (this.keys.module ??= records.module.map((m) => (m < 0 ? "\uffff" : modules[m].name)));
    return records[by];
  }

  heading() {
    const names = ["Fact", "Module", "Scope", "Version", "Changed (UTC)"];
    const { by, down } = this.sort;
    this.head.replaceChildren(...SORTS.map((key, place) => {
      const state = by === key ? (down ? "descending" : "ascending") : "none";
      return el("div", { role: "columnheader", "aria-sort": state },
        el("button", { type: "button", "data-sort": key, onclick: () => this.turn(key) }, names[place] + (by === key ? (down ? " ↓" : " ↑") : "")));
    }));
  }

  /** Sort by a column; again turns it round, a third time gives the order in which they were added. */
  turn(key) {
    const { by, down } = this.sort;
    if (by !== key) this.setSort(key, false);
    else if (!down) this.setSort(key, true);
    else this.setSort("added", false);
    this.head.querySelector(`[data-sort="${key}"]`).focus();
  }

  scheduled() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  draw() {
    this.height = parseInt(getComputedStyle(this.grid).getPropertyValue("--row"), 10);
    this.rows.style.height = `${this.view.length * this.height}px`;
    const first = Math.max(0, Math.floor(this.grid.scrollTop / this.height) - 6);
    const last = Math.min(this.view.length, first + Math.ceil(this.grid.clientHeight / this.height) + 12);
    const drawn = [];
    for (let place = first; place < last; place++) drawn.push(this.row(place));
    this.rows.replaceChildren(...drawn);
    if (!this.view.length) this.rows.replaceChildren(el("p", { class: "empty" }, this.memory.size ? "No record has all of these words here." : "This memory holds no records yet."));
    this.grid.setAttribute("aria-activedescendant", this.view.length ? `row-${this.active}` : "");
  }

  row(place) {
    const { records, scopeNames } = this.memory;
    const i = this.view[place];
    const cells = [
      marked(line(records.text[i]), this.filter.query),
      el("span", { class: "tag" }, dot(records.module[i]), this.memory.moduleName(records.module[i])),
      scopeNames[records.scope[i]],
      `v${records.version[i]}`,
      moment(records.updated[i]),
    ];
    return el("div", { role: "row", id: `row-${place}`, "aria-rowindex": place + 2, class: place === this.active ? "row active" : "row",
      "aria-selected": place === this.active ? "true" : "false", "data-place": place, style: { top: `${place * this.height}px` } },
      cells.map((cell) => el("div", { role: "gridcell" }, cell)));
  }

  onclick(event) {
    const row = event.target.closest("[data-place]");
    if (!row) return;
    this.active = +row.dataset.place;
    this.draw();
    this.open();
  }

  onkey(event) {
    if (event.target !== this.grid || !this.view.length) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.view.length, End: this.view.length };
    if (event.key === "Enter") this.open();
    else if (event.key in steps) this.move(steps[event.key]);
    else return;
    event.preventDefault();
  }

  move(step) {
    this.active = Math.max(0, Math.min(this.view.length - 1, this.active + step));
    const top = this.active * this.height;
    const seen = this.grid.clientHeight - this.head.offsetHeight - this.height;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top > this.grid.scrollTop + seen) this.grid.scrollTop = top - seen;
    this.draw();
  }

  open() {
    this.detail.show(this.view[this.active]);
  }
}

/** A text in which the words that were searched for are marked. */
function marked(text, query) {
  const words = folded(query).split(/\s+/).filter(Boolean);
  const small = text.toLowerCase();
  if (!words.length || small.length !== text.length) return text;
  const parts = [];
  let from = 0;
  while (from < text.length) {
    let [start, end] = [-1, -1];
    for (const word of words) {
      const at = small.indexOf(word, from);
      if (at >= 0 && (start < 0 || at < start)) [start, end] = [at, at + word.length];
    }
    if (start < 0) break;
    parts.push(text.slice(from, start), el("mark", {}, text.slice(start, end)));
    from = end;
  }
  return [...parts, text.slice(from)];
}
