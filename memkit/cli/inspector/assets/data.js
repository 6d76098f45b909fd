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

/** Options for a list of modules, those that hold most first if there are very many. */
function moduleChoices(memory) {
  const numbers = memory.modules.map((_, number) => number);
  const entries = numbers.map((n) => [String(n), `${memory.modules[n].name} (${count(memory.inModule[n])})`]);
  const held = memory.inModule.reduce((sum, n) => sum + n, 0);
  return [["", "All modules"], ...entries, ["-1", `In no module (${count(memory.size - held)})`]];
}

function scopeChoices(memory) {
  const entries = memory.scopeNames.map((name, n) => [String(n), `${name} (${count(memory.inScope[n])})`]);
  return [["", "All scopes"], ...entries];
}
