// Puts the views together: tabs, links between views, the theme.

const VIEWS = ["overview", "records", "map", "modules", "routes", "activity"];

/** Tabs as the ARIA practices have them: arrows move, and the address has the view. */
function tabs(shown) {
  const show = (view, focus = false) => {
    for (const name of VIEWS) {
      const tab = byId(`tab-${name}`);
      const chosen = name === view;
      byId(name).hidden = !chosen;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen && focus) tab.focus();
      if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    if (location.hash.slice(1) !== view) history.replaceState(null, "", `#${view}`);
    shown(view);
  };
  for (const name of VIEWS) byId(`tab-${name}`).addEventListener("click", () => show(name));
  byId("tabs").addEventListener("keydown", (event) => {
    const place = VIEWS.findIndex((name) => byId(`tab-${name}`) === document.activeElement);
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: VIEWS.length - 1 }[event.key];
    if (next === undefined) return;
    show(VIEWS[(next + VIEWS.length) % VIEWS.length], true);
    event.preventDefault();
  });
  window.addEventListener("hashchange", () => show(viewInAddress()));
  byId("tabs").hidden = false;
  return show;
}

const viewInAddress = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview");

/** The button that goes through the themes: of the system, light, dark. */
function themes(changed) {
  const order = ["system", "light", "dark"];
  const button = byId("theme");
  let now = 0;
  button.addEventListener("click", () => {
    now = (now + 1) % order.length;
    if (now) document.documentElement.dataset.theme = order[now];
    else delete document.documentElement.dataset.theme;
    byId("theme-now").textContent = order[now];
    changed();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function heading(memory) {
  byId("name").textContent = memory.name;
  const scope = memory.scope ? `scope ${scopeName(memory.scope)} and narrower` : "all scopes";
  byId("about").textContent = `memkit inspector · ${scope} · ${moment(memory.made)} UTC`;
  byId("foot").textContent = `Made by memkit ${memory.memkit} from what was stored then; the page asks nothing of the memory or of any network. It holds the memory's texts: keep it as you keep the memory. Forgetting does not reach it.`;
}

async function start() {
  const memory = await readMemory();
  heading(memory);
  const made = {};
  const open = (view, what = {}) => {
    show(view);
    if (view === "records") made.records.set({ query: "", module: "", scope: "", ...what });
    if (view === "map" && "record" in what) made.map.focus(what.record);
    else if (view === "map") made.map.set({ query: "", module: "", records: null, ...what });
    if (view === "routes" && "route" in what) made.routes.choose(what.route);
    byId("main").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  };
  const detail = new Detail(memory, open);
  const makers = {
    overview: () => showOverview(memory, open),
    records: () => new RecordsView(memory, detail),
    map: () => new MapView(memory, detail),
    modules: () => new ModulesView(memory, open),
    routes: () => new RoutesView(memory, open),
    activity: () => new ActivityView(memory),
  };
  // Each view is made when it is first looked at, while it is in sight and has a size.
  const show = tabs((view) => { if (!(view in made)) made[view] = makers[view]() ?? true; });
  themes(() => made.map?.draw());
  byId("status").hidden = true;
  show(viewInAddress());
  document.documentElement.dataset.ready = Math.round(performance.now());
}

start().catch((error) => {
  byId("status").hidden = false;
  byId("status").textContent = `The page cannot show the memory: ${error.message}`;
  throw error;
});
