// The memory as the page has it: columns of records, modules, routes.

/** Unpack what the page carries: base64 of zlib's format, then JSON. */
async function readMemory() {
  const packed = byId("data");
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot unpack the page; use Chrome 80, Firefox 113, Safari 16.4 or newer");
  }
  const text = atob(packed.textContent.trim());
  packed.remove(); // it is large, and not needed any more
  const raw = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) raw[i] = text.charCodeAt(i);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return prepared(JSON.parse(await new Response(stream).text()));
}

/** Add what all views use. */
function prepared(memory) {
  const { records, modules, scopes } = memory;
  memory.size = records.id.length;
  memory.scopeNames = scopes.map((scope) => scopeName(scope.labels));
  memory.inScope = new Array(scopes.length).fill(0);
  memory.heldInScope = new Array(scopes.length).fill(0);
  memory.inModule = new Array(modules.length).fill(0);
  for (let i = 0; i < memory.size; i++) {
    memory.inScope[records.scope[i]] += 1;
    if (records.module[i] >= 0) {
      memory.heldInScope[records.scope[i]] += 1;
      memory.inModule[records.module[i]] += 1;
    }
  }
  memory.moduleName = (number) => (number < 0 ? "none" : modules[number].name);
  memory.routeOf = new Map(memory.routes.rows.map((route, place) => [route.record, place]));
  memory.haystack = new Array(memory.size); // made when it is first searched
  return memory;
}

/** All that is searched of a record, in small letters. */
function haystack(memory, i) {
  const known = memory.haystack[i];
  if (known !== undefined) return known;
  const { text, question, answer, key, meta, id } = memory.records;
  const parts = [text[i], question[i], answer[i], key[i], meta[i], id[i]].filter(Boolean);
  return (memory.haystack[i] = folded(parts.join("\n")));
}

/** Numbers of the records that have all words of a query and are of a module and a scope. */
function matching(memory, { query = "", module = "", scope = "" }) {
  const words = folded(query).split(/\s+/).filter(Boolean);
  const { records } = memory;
  const found = [];
  for (let i = 0; i < memory.size; i++) {
    if (module !== "" && records.module[i] !== +module) continue;
    if (scope !== "" && records.scope[i] !== +scope) continue;
    if (words.length) {
      const text = haystack(memory, i);
      if (!words.every((word) => text.includes(word))) continue;
    }
    found.push(i);
  }
  return found;
}

const CHOICES = 500; // in a list; whatever is linked to elsewhere joins them

/** Options for a list of modules: those that hold most, in the order of their names. */
function moduleChoices(memory) {
  const held = memory.inModule.reduce((sum, n) => sum + n, 0);
  return [["", "All modules"], ...largest(memory.inModule).map((n) => moduleChoice(memory, n)), ["-1", `In no module (${count(memory.size - held)})`]];
}

/** Options for a list of scopes: those with most records, in the order of their names. */
function scopeChoices(memory) {
  return [["", "All scopes"], ...largest(memory.inScope).map((n) => scopeChoice(memory, n))];
}

const moduleChoice = (memory, n) => [String(n), `${memory.moduleName(n)} (${count(memory.inModule[n])})`];
const scopeChoice = (memory, n) => [String(n), `${memory.scopeNames[n]} (${count(memory.inScope[n])})`];

/** Numbers of the largest counts, ascending. */
function largest(counts) {
  const order = counts.map((_, n) => n).sort((a, b) => counts[b] - counts[a] || a - b);
  return order.slice(0, CHOICES).sort((a, b) => a - b);
}

/** Choose an option of a list, and add it before if need be. */
function chosen(list, value, made) {
  if (value !== "" && ![...list.options].some((option) => option.value === value)) {
    const [own, text] = made();
    list.append(el("option", { value: own }, text));
  }
  list.value = value;
}
