// The map: each record at the place of its vector in the plane of the two main directions.

class MapView {
  constructor(memory, detail) {
    this.memory = memory;
    this.detail = detail;
    this.filter = { query: "", module: "", records: null };
    this.zoom = { scale: 1, x: 0.5, y: 0.5 };
    this.hovered = -1;
    this.chosen = -1;
    this.still = el("canvas"); // the dots alone, which are many
    this.build();
    this.select();
  }

  build() {
    const { memory } = this;
    const { explained, dim } = memory.map;
    this.canvas = el("canvas", { role: "img", tabindex: "0", "aria-label": this.described(), "aria-describedby": "map-note",
      onpointermove: (event) => this.onmove(event), onpointerdown: (event) => this.ondown(event), onpointerup: (event) => this.onup(event),
      onpointerleave: () => this.hover(-1), onkeydown: (event) => this.onkey(event) });
    this.canvas.addEventListener("wheel", (event) => this.onwheel(event), { passive: false });
    this.tip = el("div", { class: "tip", hidden: true });
    this.search = el("input", { type: "search", placeholder: "Highlight records with these words", "aria-label": "Highlight records", autocomplete: "off", spellcheck: "false",
      oninput: settled(() => this.set({ query: this.search.value, records: null })) });
    this.module = choice("Module", moduleChoices(memory), () => this.set({ module: this.module.value, records: null }));
    this.counted = el("span", { class: "count quiet number", role: "status" });
    const button = (label, name, work) => el("button", { type: "button", class: "plain", "aria-label": name, title: name, onclick: work }, label);
    this.legend = el("div", { class: "legend" });
    byId("map").replaceChildren(
      el("div", { class: "bar" }, this.search, this.module, this.counted),
      el("div", { class: "plot" }, this.canvas, this.tip,
        el("div", { class: "zoom" }, button("+", "Zoom in", () => this.zoomBy(1.6)), button("−", "Zoom out", () => this.zoomBy(1 / 1.6)), button("⤢", "Show all", () => this.showAll()))),
      this.legend,
      el("p", { class: "quiet", id: "map-note" }, dim
        ? `Each dot is a record, placed by the mean of its stored vectors. The plane shows 2 of ${dim} directions (principal components), ${Math.round(100 * explained)}% of how they differ: near is similar, but far need not be different. Hover or tap to read, click to open; arrows move, + and − zoom.`
        : "There are no vectors yet, so there is no map."));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  described() {
    return `Map of ${plural(this.memory.size, "record")} in ${plural(this.memory.modules.length, "module")}; the Records view lists the same records`;
  }

  set(change) {
    Object.assign(this.filter, change);
    this.search.value = this.filter.query;
    chosen(this.module, this.filter.module, () => moduleChoice(this.memory, +this.filter.module));
    this.select();
  }

  /** Records that stand out; all if nothing is asked for. */
  select() {
    const { query, module, records } = this.filter;
    const asked = query.trim() || module !== "";
    const found = records ?? (asked ? matching(this.memory, { query, module }) : null);
    this.bright = found && new Set(found);
    this.counted.textContent = found ? `${count(found.length)} highlighted` : plural(this.memory.size, "record");
    this.order();
    this.keyed();
    this.draw();
  }

  /** The order of drawing: by module, so that colours change seldom; what stands out comes last. */
  order() {
    const { x, module } = this.memory.records;
    const faint = this.memory.modules.map(() => []);
    const bright = this.memory.modules.map(() => []);
    for (const groups of [faint, bright]) groups.unshift([]); // of records in no module
    for (let i = 0; i < this.memory.size; i++) {
      if (x[i] !== null) (this.bright?.has(i) ? bright : faint)[module[i] + 1].push(i);
    }
    this.drawn = Int32Array.from([...faint, ...bright].flat());
  }

  keyed() {
    const most = this.memory.modules.map((_, n) => n).sort((a, b) => this.memory.inModule[b] - this.memory.inModule[a]).slice(0, 11).sort((a, b) => a - b);
    const more = this.memory.modules.length - most.length;
    this.legend.replaceChildren(...[...most, -1].map((m) =>
      el("button", { type: "button", "aria-pressed": this.filter.module === String(m) ? "true" : "false",
        onclick: () => this.set({ module: this.filter.module === String(m) ? "" : String(m), records: null }) },
        dot(m), m < 0 ? "in no module" : this.memory.modules[m].name)),
      more > 0 ? el("span", { class: "quiet" }, `${plural(more, "more module")} in the list above`) : "");
  }

  /** Bring a record into the middle, and mark it. */
  focus(i) {
    this.chosen = i;
    this.filter = { query: "", module: "", records: null };
    this.set({});
    const { grid } = this.memory.map;
    this.zoom = { scale: 3, x: this.memory.records.x[i] / grid, y: 1 - this.memory.records.y[i] / grid };
    this.draw();
  }

  // -- drawing

  frame() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const side = (Math.min(width, height) - 48) * this.zoom.scale;
    return { width, height, side, left: width / 2 - this.zoom.x * side, top: height / 2 - this.zoom.y * side };
  }

  at(i, frame) {
    const { x, y } = this.memory.records;
    const { grid } = this.memory.map;
    return [frame.left + (x[i] / grid) * frame.side, frame.top + (1 - y[i] / grid) * frame.side];
  }

  draw() {
    const frame = this.frame();
    if (!frame.width) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    for (const canvas of [this.still, this.canvas]) {
      canvas.width = Math.round(frame.width * ratio);
      canvas.height = Math.round(frame.height * ratio);
      canvas.getContext("2d").scale(ratio, ratio);
    }
    this.points(this.still.getContext("2d"), frame);
    this.rings();
  }

  /** Mark what is chosen and what is pointed at, over the dots that are drawn already. */
  rings() {
    const frame = this.frame();
    if (!frame.width || !this.still.width) return;
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, frame.width, frame.height);
    pen.drawImage(this.still, 0, 0, frame.width, frame.height);
    for (const i of [this.chosen, this.hovered]) if (i >= 0) this.ring(pen, frame, i);
  }

  points(pen, frame) {
    const { module } = this.memory.records;
    const paint = this.paints();
    const many = this.drawn.length > 4000;
    const radius = Math.min(7, (many ? 1.1 : this.drawn.length > 800 ? 2.4 : 4.5) * Math.sqrt(this.zoom.scale));
    let [last, faint] = [-2, false];
    for (const i of this.drawn) {
      const dim = this.bright !== null && !this.bright.has(i);
      if (module[i] !== last || dim !== faint) {
        [last, faint] = [module[i], dim];
        pen.fillStyle = paint(last);
        pen.globalAlpha = dim ? 0.14 : many ? 0.75 : 0.9;
      }
      const [x, y] = this.at(i, frame);
      if (x < -9 || y < -9 || x > frame.width + 9 || y > frame.height + 9) continue;
      if (many) pen.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      else {
        pen.beginPath();
        pen.arc(x, y, dim ? radius * 0.8 : radius, 0, 7);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
  }

  ring(pen, frame, i) {
    const [x, y] = this.at(i, frame);
    pen.lineWidth = 2.5;
    pen.strokeStyle = getComputedStyle(this.canvas).color;
    pen.beginPath();
    pen.arc(x, y, 9, 0, 7);
    pen.stroke();
  }

  /** Colours as the canvas takes them, in the current theme. */
  paints() {
    const style = getComputedStyle(document.documentElement);
    const light = style.getPropertyValue("--module-light").trim();
    const known = new Map();
    return (m) => {
      if (!known.has(m)) {
        const name = m < 0 ? "--none" : m < 10 ? `--m${m}` : null;
        known.set(m, name ? style.getPropertyValue(name).trim() : `hsl(${(m * 137.508) % 360} 58% ${light})`);
      }
      return known.get(m);
    };
  }

  // -- pointing

  /** The record nearest to a place on the canvas, if it is near at all. */
  nearest(event) {
    const box = this.canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    const frame = this.frame();
    let [best, least] = [-1, 14 * 14];
    for (const i of this.drawn) {
      if (this.bright !== null && !this.bright.has(i)) continue;
      const [x, y] = this.at(i, frame);
      const far = (x - px) ** 2 + (y - py) ** 2;
      if (far <= least) [best, least] = [i, far];
    }
    return best;
  }

  hover(i) {
    if (i === this.hovered) return;
    this.hovered = i;
    this.tip.hidden = i < 0;
    if (i >= 0) {
      const { records, moduleName } = this.memory;
      this.tip.replaceChildren(el("div", {}, line(records.text[i], 180)), el("div", { class: "mono" }, `${moduleName(records.module[i])} · v${records.version[i]}`));
      const [x, y] = this.at(i, this.frame());
      const room = this.canvas.clientWidth;
      this.tip.style.left = `${Math.max(8, Math.min(x + 14, room - Math.min(320, room - 16) - 8))}px`;
      const above = y > this.canvas.clientHeight * 0.6;
      this.tip.style.top = above ? "auto" : `${Math.max(8, y + 16)}px`;
      this.tip.style.bottom = above ? `${this.canvas.clientHeight - y + 14}px` : "auto";
    }
    this.rings();
  }

  ondown(event) {
    this.drag = { x: event.clientX, y: event.clientY, from: { ...this.zoom }, moved: false };
    if (event.pointerType === "mouse" || this.zoom.scale > 1) this.canvas.setPointerCapture(event.pointerId);
  }

  onmove(event) {
    if (!this.drag) {
      this.hover(this.nearest(event));
      return;
    }
    const [dx, dy] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
    if (!this.drag.moved && Math.hypot(dx, dy) < 5) return;
    this.drag.moved = true;
    this.hover(-1);
    const { side } = this.frame();
    this.move(this.drag.from.x - dx / side, this.drag.from.y - dy / side);
  }

  onup(event) {
    const dragged = this.drag?.moved;
    this.drag = null;
    if (dragged) return;
    const i = this.nearest(event);
    if (event.pointerType !== "mouse" && i !== this.hovered) this.hover(i); // the first tap reads
    else if (i >= 0) this.detail.show(i);
  }

  onwheel(event) {
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 400), event);
  }

  onkey(event) {
    const step = 0.08 / this.zoom.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) this.move(this.zoom.x + moves[event.key][0], this.zoom.y + moves[event.key][1]);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.6);
    else if (event.key === "-") this.zoomBy(1 / 1.6);
    else if (event.key === "0") this.showAll();
    else return;
    event.preventDefault();
  }

  move(x, y) {
    this.zoom.x = Math.max(0, Math.min(1, x));
    this.zoom.y = Math.max(0, Math.min(1, y));
    this.draw();
  }

  /** Zoom, towards a pointer if there is one. */
  zoomBy(factor, event = null) {
    const before = this.frame();
    const scale = Math.max(1, Math.min(60, this.zoom.scale * factor));
    if (event) {
      const box = this.canvas.getBoundingClientRect();
      const off = [event.clientX - box.left - before.width / 2, event.clientY - box.top - before.height / 2];
      const after = (before.side / this.zoom.scale) * scale;
      this.zoom.x += off[0] / before.side - off[0] / after;
      this.zoom.y += off[1] / before.side - off[1] / after;
    }
    this.zoom.scale = scale;
    this.canvas.style.touchAction = scale > 1 ? "none" : "auto";
    this.hover(-1);
    this.move(this.zoom.x, this.zoom.y);
  }

  showAll() {
    this.zoom = { scale: 1, x: 0.5, y: 0.5 };
    this.chosen = -1;
    this.zoomBy(1);
  }
}
