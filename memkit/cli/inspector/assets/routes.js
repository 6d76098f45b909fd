// Routes of stored questions, found again by what is typed.

class RoutesView {
  constructor(memory, open) {
    this.memory = memory;
    this.open = open;
    this.rows = memory.routes.rows;
    this.words = this.rows.map((route) => new Set(wordsOf(route.question)));
    this.having = new Map();
    for (const words of this.words) for (const word of words) this.having.set(word, (this.having.get(word) ?? 0) + 1);
    this.build();
  }

  build() {
    const { questions } = this.memory.routes;
    const room = byId("routes");
    if (!this.rows.length) {
      room.replaceChildren(card("No routes", el("p", {}, questions
        ? "This page was made without routes. Make it with --routes above 0 to have them."
        : "No record shown here came with a question, so there is none whose route could be replayed. “memkit explain” routes any question.")));
      return;
    }
    this.search = el("input", { type: "search", placeholder: "Type a question", "aria-label": "Type a question", "aria-describedby": "routes-note", autocomplete: "off", spellcheck: "false",
      oninput: settled(() => this.typed()) });
    this.result = el("div", { "aria-live": "polite" });
    const all = this.rows.length < questions ? `${count(this.rows.length)} of ${plural(questions, "stored question")}` : `all ${plural(questions, "stored question")}`;
    room.replaceChildren(
      el("div", { class: "bar" }, this.search),
      el("p", { class: "quiet note", id: "routes-note" }, `A replay: this page has no model. What you type is matched by its words with ${all}, whose routes memkit's own router computed from stored vectors when the page was made. For any other question use “memkit explain”.`),
      this.memory.calibration?.stale ? el("p", { class: "quiet note" }, `The memory has changed in ${plural(this.memory.calibration.changes, "passage")} since the router was measured. These routes go by that measurement; the next question that is asked renews it.`) : "",
      this.result);
    this.suggest("Try one of these", this.samples());
  }

  /** Eight questions from all over the list. */
  samples() {
    const every = Math.max(1, Math.floor(this.rows.length / 8));
    return this.rows.map((_, place) => place).filter((place) => place % every === 0).slice(0, 8);
  }

  /** Stored questions by the share of typed words that they have, rare words counting more. */
  ranked(text) {
    const typed = [...new Set(wordsOf(text))];
    const weight = (word) => Math.log(1 + this.rows.length / (this.having.get(word) ?? 0.5));
    const total = typed.reduce((sum, word) => sum + weight(word), 0);
    const scored = this.words.map((words, place) => {
      const shared = typed.reduce((sum, word) => sum + (words.has(word) ? weight(word) : 0), 0);
      return [place, total ? shared / total : 0, words.size];
    });
    return scored.filter(([, part]) => part > 0).sort((a, b) => b[1] - a[1] || a[2] - b[2] || a[0] - b[0]).slice(0, 7);
  }

  typed() {
    const text = this.search.value.trim();
    if (!text) return this.suggest("Try one of these", this.samples());
    const found = this.ranked(text);
    if (!found.length || found[0][1] < 0.3) {
      return this.suggest("No stored question resembles this one. The nearest by words:", found.map(([place]) => place));
    }
    const [best, part] = found[0];
    return this.show(best, `Closest stored question, with ${Math.round(100 * part)}% of your words by weight`, found.slice(1).map(([place]) => place));
  }

  suggest(title, places) {
    this.result.replaceChildren(card(title, places.length ? this.list(places) : el("p", { class: "quiet" }, "none")));
  }

  list(places) {
    return el("ul", { class: "lines" }, places.map((place) =>
      el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.choose(place) }, this.rows[place].question), el("span", { class: "tag quiet" }, this.outcome(this.rows[place])))));
  }

  choose(place) {
    this.search.value = this.rows[place].question;
    this.show(place, "Stored question", []);
  }

  outcome(route) {
    return route.modules.length ? route.modules.map(([m]) => el("span", { class: "tag" }, dot(m), this.memory.moduleName(m))) : [dot(-1), "none"];
  }

  show(place, how, others) {
    const route = this.rows[place];
    const { records } = this.memory;
    this.result.replaceChildren(el("ol", { class: "steps" },
      el("li", {}, el("h2", {}, "1. " + how), el("p", { class: "asked" }, route.question),
        el("p", { class: "quiet" }, `It belongs to: ${line(records.text[route.record])}`)),
      el("li", { class: "considered" }, el("h2", {}, "2. Facts that were considered, best first"), this.facts(route)),
      el("li", {}, el("h2", {}, "3. Is the evidence enough?"), this.gauge(route)),
      el("li", {}, el("h2", {}, "4. Route"), this.verdict(route), el("p", { class: "quiet" }, route.reason), this.parts(route)),
      others.length ? el("li", {}, el("h2", {}, "Other stored questions like it"), this.list(others)) : null));
  }

  facts(route) {
    const { records, moduleName } = this.memory;
    const best = Math.max(0.001, ...route.support.map(([, , score]) => score));
    const items = route.support.map(([i, similarity, score, m, words]) => el("li", {},
      el("span", {}, line(records.text[i], 220)),
      el("span", { class: "tag quiet number" }, dot(m), `${m < 0 ? "no module" : moduleName(m)} · ${score.toFixed(2)}`),
      meter(score / best, colour(m)),
      el("span", { class: "chips" }, el("span", { class: "chip number" }, `cosine ${similarity.toFixed(2)}`), words.map((word) => el("span", { class: "chip" }, word)))));
    return [
      el("ul", { class: "facts" }, items),
      route.elsewhere ? el("p", { class: "quiet" }, `${plural(route.elsewhere, "fact")} of scopes that are not shown here took part, too.`) : null,
      el("p", { class: "bar" }, el("button", { type: "button", class: "plain", onclick: () => this.open("map", { records: route.support.map(([i]) => i) }) }, "Show these on the map")),
    ];
  }

  gauge({ evidence, threshold }) {
    const most = Math.max(evidence, threshold, 0.001) * 1.25;
    const at = Math.max(0, Math.min(1, threshold / most));
    const passes = evidence >= threshold;
    return [
      el("div", { class: "gauge", role: "img", "aria-label": `evidence ${evidence.toFixed(2)}, threshold ${threshold.toFixed(2)}` },
        meter(evidence / most, passes ? "var(--m2)" : "var(--m1)"),
        el("span", { class: "mark-line", style: { left: `${100 * at}%` } }),
        el("span", { class: "mark-label", style: { left: `${100 * Math.max(0.12, Math.min(0.88, at))}%` } }, `threshold ${threshold.toFixed(2)}`)),
      el("p", { class: "quiet number" }, `Evidence ${evidence.toFixed(2)} is ${passes ? "enough" : "too little"}.`),
    ];
  }

  verdict(route) {
    if (!route.modules.length) return el("p", { class: "verdict" }, el("span", { class: "tag" }, dot(-1), "none: the base model is untouched; the index gives the evidence"));
    return el("p", { class: "verdict" }, route.modules.map(([m, weight]) => el("span", { class: "tag" }, dot(m), `${this.memory.moduleName(m)} × ${weight.toFixed(2)}`)));
  }

  parts(route) {
    if (route.parts.length < 2) return null;
    return el("ul", { class: "lines" }, route.parts.map(([question, m, , sure]) =>
      el("li", {}, el("span", {}, question), el("span", { class: "tag quiet number" }, dot(m), `${this.memory.moduleName(m)}, ${Math.round(100 * sure)}% sure`))));
  }
}

/** The words of a text in small letters, without "'s"; scripts without blanks give single signs. */
function wordsOf(text) {
  return folded(text).replace(/['’]s(?!\p{L})/gu, "").match(/\p{Script=Han}|[\p{L}\p{N}\p{M}]+/gu) ?? [];
}
