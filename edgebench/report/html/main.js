// What the reader can do, and the first drawing.
let frame = null;
function later(work) {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => { frame = null; work(); });
}

// The axes follow what is struck or not, and else stay where they are.
function refresh(facet) {
  state.page = 0;
  later(() => { drawTable(); if (facet === "front") drawTradeoff(); else refreshTradeoff(); });
  clearTimeout(refresh.cost);
  refresh.cost = setTimeout(drawCost, 160); // bars are drawn anew: not at every letter typed
}

// --- filters

const FACETS = { device: "Device", backend: "Backend", precision: "Precision", front: "State" };

// Only what can be chosen: a field of one value is none.
function choosable(id, count) {
  byId(id).closest(".field").hidden = count < 2;
}

function drawControls() {
  const name = (group) => `${group.name} · ${group.scenario}`;
  byId("group").replaceChildren(...report.groups.map((group, index) => make("option", { value: index }, name(group))));
  if (report.groups.length > 1) byId("group").append(make("option", { value: -1 }, `all ${report.groups.length} workloads (table only)`));
  choosable("group", report.groups.length);
  byId("color").value = state.color;
  choosable("color", report.devices.length);
}

// The values that the rows of this workload have.
function drawFacets() {
  const nodes = Object.entries(FACETS).map(([facet, title]) => facetNode(facet, title)).filter(Boolean);
  byId("facets").replaceChildren(...nodes);
  byId("filter").hidden = !nodes.length;
}

function facetNode(facet, title) {
  const values = unique(inGroup().map((row) => row[facet]));
  if (facet === "front") values.sort((a, b) => Object.keys(FRONTS).indexOf(a) - Object.keys(FRONTS).indexOf(b));
  else values.sort();
  if (values.length < 2) return null;
  return make("fieldset", {}, make("legend", {}, title), ...values.map((value) => {
    const box = make("input", { type: "checkbox", checked: !state.hidden[facet].has(value), "data-facet": facet, value });
    box.addEventListener("change", () => { state.hidden[facet][box.checked ? "delete" : "add"](value); refresh(facet); });
    return make("label", { className: "chip" }, box, facet === "front" ? FRONTS[value] : value);
  }));
}

function showAll() {
  byId("search").value = state.search = "";
  for (const hidden of Object.values(state.hidden)) hidden.clear();
  for (const box of document.querySelectorAll("input[data-facet]")) box.checked = true;
}

function drawAgainst() {
  const group = report.groups[state.group];
  state.against = group?.lines[0]?.y ?? group?.ys[0] ?? "quality"; // an axis on which the rows differ
  byId("against").replaceChildren(...(group?.ys ?? []).map((y) => make("option", { value: y, selected: y === state.against }, y)));
  choosable("against", group?.ys.length ?? 0);
}

function chooseGroup(index) {
  state.group = index;
  byId("group").value = String(index);
  state.page = 0;
  state.brush = null;
  showAll();
  tickDefaults();
  drawFacets();
  drawAgainst();
  drawTable();
  drawCharts();
}

byId("group").addEventListener("change", (event) => chooseGroup(Number(event.target.value)));
byId("against").addEventListener("change", (event) => { state.against = event.target.value; drawTradeoff(); drawTable(); });
byId("color").addEventListener("change", (event) => { state.color = event.target.value; drawTradeoff(); drawTable(); });
byId("search").addEventListener("input", (event) => { state.search = event.target.value.trim().toLowerCase(); refresh(); });
byId("series-row").addEventListener("change", (event) => { state.series = Number(event.target.value); drawSeries(); refreshNumbers(); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("controls").addEventListener("reset", (event) => {
  event.preventDefault();
  showAll();
  state.page = 0;
  drawTable();
  drawTradeoff();
  drawCost();
});
byId("previous").addEventListener("click", () => { state.page -= 1; drawTable(); });
byId("next").addEventListener("click", () => { state.page += 1; drawTable(); });
for (const link of document.querySelectorAll("a[data-group]")) {
  link.addEventListener("click", () => chooseGroup(Number(link.dataset.group)));
}
for (const place of document.querySelectorAll("details[data-numbers]")) place.addEventListener("toggle", refreshNumbers);

// --- from point to point by keyboard

function walk(step) {
  const group = report.groups[state.group];
  if (!group) return;
  const field = xField();
  const list = shown().filter((row) => row.numbers[field] !== undefined && row.numbers[AXES[state.against]] !== undefined)
    .sort((a, b) => a.numbers[field] - b.numbers[field]);
  if (!list.length) return;
  const at = list.findIndex((row) => row.index === state.focus);
  const row = list[at < 0 ? (step > 0 ? 0 : list.length - 1) : (at + step + list.length) % list.length];
  highlight(row.index);
  hover(row.index);
  byId("spoken").textContent = `${nameOf(row)}, ${FRONTS[row.front]}: ` +
    [...["p50", "memory", "quality", "energy"].filter((name) => figureOf(row, name)[0]).map((name) => `${name} ${figureOf(row, name).join(" ")}`), because(row)].filter(Boolean).join(", ");
}

byId("chart-tradeoff").addEventListener("keydown", (event) => {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.key in steps) walk(steps[event.key]);
  else if (event.key === "Enter" && state.focus >= 0) openRecord(state.focus);
  else if (event.key === "Escape") hover(undefined);
  else return;
  event.preventDefault();
});
byId("chart-tradeoff").addEventListener("blur", () => hover(undefined));
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hover(undefined); });

// --- light and dark

function showTheme() {
  const dark = darkNow();
  byId("theme").textContent = dark ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", dark ? "Change to light colours" : "Change to dark colours");
  byId("theme").setAttribute("aria-pressed", String(dark));
}
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = darkNow() ? "light" : "dark";
  recolour();
});

// Colours are names, which follow by themselves; a canvas holds them as they were.
function recolour() {
  showTheme();
  if (document.querySelector(".plot canvas")) drawCharts();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
matchMedia("print").addEventListener("change", () => { recolour(); drawTable(); });

// Paper gets all sections and charts, drawn before it is made.
addEventListener("beforeprint", () => {
  for (const section of document.querySelectorAll("details.section:not([open]), .decision details:not([open])")) {
    section.dataset.closed = "";
    section.open = true;
  }
  for (const id of Object.keys(waiting)) drawWaiting(id);
});
addEventListener("afterprint", () => {
  for (const section of document.querySelectorAll("details[data-closed]")) {
    delete section.dataset.closed;
    section.open = false;
  }
});

// --- sections that fold

function reveal() {
  const section = location.hash && byId(location.hash.slice(1));
  if (section instanceof HTMLDetailsElement) { section.open = true; section.scrollIntoView(); }
}
addEventListener("hashchange", reveal);
for (const link of document.querySelectorAll(".contents a")) link.addEventListener("click", () => setTimeout(reveal));

let lastWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) return;
  lastWidth = innerWidth;
  later(drawCharts);
});

if (matchMedia("(min-width: 861px)").matches) {
  for (const section of document.querySelectorAll("details.section[data-wide]")) section.open = true;
}
showTheme();
drawControls();
tickDefaults();
drawFacets();
drawAgainst();
drawTable();
performance.mark("table");
drawCharts();
reveal();
performance.mark("ready");
document.documentElement.dataset.ready = "true";
