// One record, whole: what it says, where it is held, and what it said before.

class Detail {
  constructor(memory, open) {
    this.memory = memory;
    this.open = open;
    this.dialog = byId("detail");
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  show(i) {
    const { memory } = this;
    const { records } = memory;
    const held = records.module[i];
    const close = el("button", { type: "button", class: "plain", onclick: () => this.dialog.close() }, "Close");
    this.dialog.replaceChildren(el("div", { class: "inside" },
      el("div", { class: "headline" }, el("h2", { id: "detail-title" }, "Record"), close),
      el("p", { class: "said" }, records.text[i]),
      memory.cut[i] ? el("p", { class: "quiet" }, `The beginning of ${count(memory.cut[i])} characters.`) : null,
      this.question(i),
      el("dl", { class: "pairs" }, this.facts(i).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      records.meta[i] ? el("div", {}, el("h3", {}, "Metadata"), el("pre", { class: "mono" }, indented(records.meta[i]))) : null,
      this.history(i),
      el("div", { class: "actions" },
        records.x[i] !== null ? this.action("Show on the map", () => this.open("map", { record: i })) : null,
        memory.routeOf.has(i) ? this.action("Route of its question", () => this.open("routes", { route: memory.routeOf.get(i) })) : null,
        memory.scopes.length > 1 ? this.action("All of its scope", () => this.open("records", { scope: String(records.scope[i]) })) : null,
        held >= 0 ? this.action(`Others in ${memory.moduleName(held)}`, () => this.open("records", { module: String(held) })) : null)));
    if (!this.dialog.open) this.dialog.showModal();
    close.focus();
  }

  action(label, work) {
    return el("button", { type: "button", class: "plain", onclick: () => { this.dialog.close(); work(); } }, label);
  }

  question(i) {
    const { question, answer } = this.memory.records;
    if (question[i] === null) return null;
    return el("dl", { class: "pairs" }, el("dt", {}, "Question"), el("dd", {}, question[i]), el("dt", {}, "Answer"), el("dd", {}, answer[i] ?? "–"));
  }

  facts(i) {
    const { records, scopeNames, moduleName } = this.memory;
    const held = records.module[i];
    return [
      ["Held by", el("span", { class: "tag" }, dot(held), held < 0 ? this.missed(i) : moduleName(held))],
      ["Scope", scopeNames[records.scope[i]]],
      ["Version", String(records.version[i])],
      ["Added", `${moment(records.created[i])} UTC`],
      ["Changed", `${moment(records.updated[i])} UTC`],
      records.said[i] !== null ? ["Said", `${moment(records.said[i])} UTC`] : null,
      records.expires[i] !== null ? ["Expires", `${moment(records.expires[i])} UTC`] : null,
      records.pinned[i] ? ["Pinned", "always part of the evidence"] : null,
      records.key[i] !== null ? ["Key", el("span", { class: "mono" }, records.key[i])] : null,
      ["Id", el("span", { class: "mono" }, records.id[i])],
    ].filter(Boolean);
  }

  /** Why no module holds a record, as far as that is known. */
  missed(i) {
    const { records, moduleName } = this.memory;
    if (records.tried[i] < 0) return "no module: the index answers";
    const name = moduleName(records.tried[i]);
    return records.outdated[i] ? `no module: ${name} has an older version, the index answers` : `no module: ${name} was trained on it and missed it, the index answers`;
  }

  history(i) {
    const older = this.memory.versions[i];
    if (!older) return null;
    const left = this.memory.records.version[i] - 1 - older.length;
    return el("div", {}, el("h3", {}, "Earlier versions"),
      el("ul", { class: "older" }, older.map(([version, text, question, answer, at]) =>
        el("li", {}, el("p", { class: "quiet" }, `v${version}, ${moment(at)} UTC`), el("p", {}, text),
          question === null ? null : el("p", { class: "quiet" }, `${question} ${answer ?? ""}`)))),
      left > 0 ? el("p", { class: "quiet" }, `and ${plural(left, "older version")}`) : null);
  }
}

/** JSON with line breaks; what was cut off stays as it is. */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch (error) {
    return text + "…";
  }
}
