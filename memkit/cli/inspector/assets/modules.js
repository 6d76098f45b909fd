// Modules in service: how well they recall, how full they are, and what they take on disk.

const MODULES_AT_ONCE = 48;

class ModulesView {
  constructor(memory, open) {
    this.memory = memory;
    this.open = open;
    this.shown = MODULES_AT_ONCE;
    this.build();
  }

  build() {
    const { memory } = this;
    const room = byId("modules");
    if (!memory.modules.length) {
      room.replaceChildren(card("No modules yet", el("p", {}, "All records are answered from the index. “memory.consolidate()” or “memkit consolidate” trains modules on them.")));
      return;
    }
    const orders = [["name", "Name"], ["-held", "Most records"], ["recall", "Weakest recall"], ["-full", "Fullest"], ["-size", "Largest"], ["-created", "Trained last"]];
    this.order = choice("Sort modules", orders, () => this.draw());
    this.cards = el("div", { class: "modules" });
    this.more = el("button", { type: "button", class: "plain", onclick: () => { this.shown += MODULES_AT_ONCE; this.draw(); } });
    room.replaceChildren(
      el("div", { class: "bar" }, this.order, el("span", { class: "count quiet" }, this.summary())), this.cards, el("p", { class: "bar" }, this.more),
      el("p", { class: "quiet" }, "Recall is the share of questions that were answered exactly when the module was verified: in the wordings that it was trained on, and in others that memkit had held out. Room is in answer tokens: what the recipe fills a module of this rank with. Tokens in use are estimated from the answers' lengths."));
    this.draw();
  }

  summary() {
    const size = this.memory.modules.reduce((sum, module) => sum + module.size, 0);
    return `${plural(this.memory.modules.length, "module")} in service, ${bytes(size)} of weights`;
  }

  sorted() {
    const value = { name: (m) => m.name, held: (m) => m.held, recall: (m) => m.recall ?? 2, full: (m) => fullness(m) ?? -1, size: (m) => m.size, created: (m) => m.created };
    const down = this.order.value.startsWith("-");
    const of = value[this.order.value.replace("-", "")];
    const numbers = this.memory.modules.map((_, n) => n);
    const { modules } = this.memory;
    numbers.sort((a, b) => (of(modules[a]) < of(modules[b]) ? -1 : of(modules[a]) > of(modules[b]) ? 1 : a - b) * (down ? -1 : 1));
    return numbers;
  }

  draw() {
    const order = this.sorted();
    this.cards.replaceChildren(...order.slice(0, this.shown).map((n) => this.card(n)));
    this.more.hidden = order.length <= this.shown;
    this.more.textContent = `Show more (${count(order.length - this.shown)})`;
  }

  card(n) {
    const module = this.memory.modules[n];
    const full = fullness(module);
    const bar = (label, value, part) => el("div", { class: "labelled" }, el("span", {}, label), el("span", { class: "number" }, value), meter(part, colour(n)));
    return el("article", { class: "card", "aria-label": `Module ${module.name}` },
      el("h2", {}, dot(n), module.name, el("span", { class: "quiet" }, `v${module.version}`)),
      bar("Records held", `${module.held} of ${module.trained}`, module.held / Math.max(1, module.trained)),
      module.recall === null ? null : bar("Recall, trained wordings", figure(module.recall), module.recall),
      module.reworded === null ? null : bar("Recall, held-out wordings", figure(module.reworded), module.reworded),
      full === null ? null : bar("Room used" + (module.measured ? "" : " (capacity not measured)"), `≈ ${count(module.tokens)} of ${count(module.room)}`, full),
      el("dl", { class: "pairs" }, this.facts(module).map(([name, value]) => [el("dt", {}, name), el("dd", { class: "number" }, value)])),
      el("div", { class: "actions" },
        el("button", { type: "button", class: "plain", onclick: () => this.open("records", { module: String(n) }) }, "Its records"),
        el("button", { type: "button", class: "plain", onclick: () => this.open("map", { module: String(n) }) }, "On the map")));
  }

  facts(module) {
    const older = module.versions.filter(([version]) => version !== module.version).map(([version]) => `v${version}`);
    return [
      ["Scope", this.memory.scopeNames[module.scope]],
      ["Rank", module.rank === null ? "–" : String(module.rank)],
      ["Size", bytes(module.size)],
      ["Trained (UTC)", moment(module.created)],
      module.steps ? ["Steps", count(module.steps)] : null,
      module.alone === null ? null : ["Other prompts left alone", `${Math.round(100 * module.alone)}%`],
      older.length ? ["Also kept", older.join(", ")] : null,
    ].filter(Boolean);
  }
}

/** How much of a module's room is in use, from 0; null if that is not known. */
const fullness = (module) => (module.room ? module.tokens / module.room : null);
