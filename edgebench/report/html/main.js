// What the reader can do, and the first drawing.
let waiting = null;
function later(work) {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => { waiting = null; work(); });
}

// The axes follow what is struck or not, and else stay where they are.
function refresh(facet) {
  state.page = 0;
  later(() => { drawTable(); if (facet === "front") drawTradeoff(); else refreshTradeoff(); });
  clearTimeout(refresh.cost);
  refresh.cost = setTimeout(drawCost, 160); // bars are drawn anew: not at every letter typed
}

// --- filters

function drawControls() {
  const name = (group) => `${group.name} · ${group.scenario}`;
  byId("group").replaceChildren(...report.groups.map((group, index) => make("option", { value: index }, name(group))));
  if (report.groups.length > 1) byId("group").append(make("option", { value: -1 }, `all ${report.groups.length} workloads (table only)`));
  byId("color").value = state.color;
  const facets = { device: "Device", backend: "Backend", precision: "Precision", front: "State" };
  byId("facets").replaceChildren(...Object.entries(facets).map(([facet, title]) => facetNode(facet, title)).filter(Boolean));
}

function facetNode(facet, title) {
  const values = unique(rows.map((row) => row[facet]));
  if (facet === "front") values.sort((a, b) => Object.keys(FRONTS).indexOf(a) - Object.keys(FRONTS).indexOf(b));
  else values.sort();
  if (values.length < 2) return null;
  return make("fieldset", {}, make("legend", {}, title), ...values.map((value) => {
    const box = make("input", { type: "checkbox", checked: true, "data-facet": facet, value });
    box.addEventListener("change", () => { state.hidden[facet][box.checked ? "delete" : "add"](value); refresh(facet); });
    return make("label", { className: "chip" }, box, FRONTS[value] && facet === "front" ? FRONTS[value] : value);
  }));
}

function drawAgainst() {
  const group = report.groups[state.group];
  state.against = group?.lines[0]?.y ?? group?.ys[0] ?? "quality"; // an axis on which the rows differ
  byId("against").replaceChildren(...(group?.ys ?? []).map((y) => make("option", { value: y, selected: y === state.against }, y)));
}

function chooseGroup(index) {
  state.group = index;
  byId("group").value = String(index);
  state.page = 0;
  state.brush = null;
  tickDefaults();
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
  byId("search").value = state.search = "";
  for (const hidden of Object.values(state.hidden)) hidden.clear();
  for (const box of document.querySelectorAll("input[data-facet]")) box.checked = true;
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

// --- the record of a point, under the pointer and by keyboard

function hover(index, event) {
  const tip = byId("tip");
  if (index === undefined) { tip.hidden = true; return; }
  if (tip.hidden || tip.dataset.row !== String(index)) {
    tip.dataset.row = index;
    tip.replaceChildren(make("strong", {}, nameOf(rows[index])), recordOf(rows[index]));
    tip.hidden = false;
  }
  const { width, height } = tip.getBoundingClientRect();
  const x = event.clientX + 18 + width > innerWidth ? event.clientX - 18 - width : event.clientX + 18;
  tip.style.left = `${Math.max(8, x)}px`;
  tip.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - height - 8))}px`;
}

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
  const box = byId("chart-tradeoff").getBoundingClientRect();
  hover(row.index, { clientX: box.left + box.width / 2, clientY: box.top + 8 });
  byId("spoken").textContent = `${nameOf(row)}, ${FRONTS[row.front]}: ` +
    ["p50", "memory", "quality", "energy"].map((name) => `${name} ${row.facts[report.fact_names.indexOf(name)]}`).join(", ");
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
  showTheme();
  drawCharts();
});
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", () => { showTheme(); drawTable(); drawCharts(); });
}
let lastWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) return;
  lastWidth = innerWidth;
  later(drawCharts);
});

byId("left-out").textContent = report.details_left_out ? `${report.details_left_out}.` : "";
showTheme();
drawControls();
tickDefaults();
drawAgainst();
drawTable();
performance.mark("table");
drawTradeoff().then(() => {
  drawSamples();
  drawCost();
  drawRoofline();
  drawScalings();
  performance.mark("ready");
  document.documentElement.dataset.ready = "true";
});
