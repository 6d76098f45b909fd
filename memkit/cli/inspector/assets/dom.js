// Making elements, and showing values. Texts are always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

/** Make an element: attributes, `on…` listeners and `style` properties in `props`. */
function el(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** The same, for drawings. */
function svg(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, of] of Object.entries(value)) node.style.setProperty(key, of);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return node;
}

const count = (number) => whole.format(number);
const share = (part, of) => (of ? Math.round((100 * part) / of) + "%" : "–");
const figure = (number, digits = 2) => (number === null || number === undefined ? "–" : number.toFixed(digits));
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (number >= 1024 && place < units.length - 1) {
    number /= 1024;
    place += 1;
  }
  return `${place && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[place]}`;
}

/** A moment, given in seconds, in UTC. */
function moment(seconds) {
  return seconds === null || seconds === undefined
    ? "–"
    : new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
}

/** One line of a text, the rest cut off. */
function line(text, width = 160) {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length > width ? flat.slice(0, width - 1) + "…" : flat;
}

/** How texts are compared: small letters, in one normal form. */
const folded = (text) => text.normalize("NFKC").toLowerCase();

function scopeName(labels) {
  const parts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return parts.length ? parts.join(", ") : "shared";
}

/** The colour of a module by its number; -1 is none. CSS, so that it follows the theme. */
function colour(module) {
  if (module < 0) return "var(--none)";
  if (module < 10) return `var(--m${module})`;
  return `hsl(${(module * 137.508) % 360} 58% var(--module-light))`;
}

const dot = (module) => el("span", { class: "dot", style: { background: colour(module) }, "aria-hidden": "true" });
const meter = (part, paint) =>
  el("div", { class: "meter" }, el("span", { style: { width: `${100 * Math.max(0, Math.min(1, part))}%`, ...(paint && { background: paint }) } }));

/** A card with a heading. */
const card = (title, ...children) => el("div", { class: "card" }, el("h2", {}, title), children);

/** A list of options; `entries` are pairs of value and label. */
function choice(label, entries, onchange) {
  const options = entries.map(([value, text]) => el("option", { value }, text));
  return el("select", { "aria-label": label, onchange }, options);
}

/** Call `work` once `wait` milliseconds have passed without another call. */
function settled(work, wait = 90) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}
