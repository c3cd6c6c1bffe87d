// Draws the Vega-Lite templates of edgebench/report/charts.py. Expressions are interpreted, never
// compiled, and nothing is ever loaded: the page's policy forbids both.
const views = {};
const refuse = () => Promise.reject(new Error("the report loads nothing"));
const LOADER = { load: refuse, sanitize: refuse, http: refuse, file: refuse };
const CANVAS_FROM = 600; // points: an SVG node for each would be slow

const darkNow = () => {
  if (matchMedia("print").matches) return false;
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const themeName = () => (darkNow() ? "dark" : "light");

function fill(spec, slots) {
  if (Array.isArray(spec)) return spec.map((part) => fill(part, slots));
  if (spec === null || typeof spec !== "object") return spec;
  const keys = Object.keys(spec);
  if (keys.length === 1 && keys[0] === "slot") return slots[spec.slot];
  return Object.fromEntries(keys.map((key) => [key, fill(spec[key], slots)]));
}

// Charts are drawn when they come near the view (and all of them before printing): what waits for that.
const waiting = {};
const near = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    near[isIntersecting ? "add" : "delete"](target.id);
    if (isIntersecting) drawWaiting(target.id);
  }
}, { rootMargin: "240px 0px" });

function drawWaiting(id) {
  const work = waiting[id];
  delete waiting[id];
  return work?.();
}

// Draws a chart anew as soon as it is near, or says in its place why there is none.
function draw(name, template, datasets, slots, { instead = "", drawn = () => {} } = {}) {
  const place = byId(`chart-${name}`);
  draw.turns[name] = (draw.turns[name] ?? 0) + 1;
  delete place.dataset.labelled;
  delete waiting[place.id];
  if (instead) {
    views[name]?.finalize();
    delete views[name];
    place.replaceChildren(make("p", { className: "note" }, instead));
    return;
  }
  place.classList.add("coming");
  waiting[place.id] = () => embed(name, place, template, datasets, slots).then((view) => view && drawn(view));
  if (near.has(place.id)) drawWaiting(place.id);
  else watcher.observe(place);
}
draw.turns = {};

async function embed(name, place, template, datasets, slots) {
  const turn = draw.turns[name];
  const renderer = Math.max(0, ...Object.values(datasets).map((data) => data.length)) > CANVAS_FROM ? "canvas" : "svg";
  const theme = page.themes[renderer === "svg" ? "named" : themeName()];
  const width = Math.max(220, place.clientWidth);
  const colors = { ...theme.colors, accent: theme.series[0] };
  const spec = fill(page.templates[template], { width, height: 240, ...colors, ...slots(width, theme) });
  spec.datasets = datasets;
  spec.autosize = { type: name === "histogram" ? "pad" : "fit-x", contains: "padding" };
  const node = make("div");
  const { view } = await vegaEmbed(node, spec, {
    mode: "vega-lite", ast: true, actions: false, tooltip: false, defaultStyle: false,
    renderer, config: theme.config, loader: LOADER, logLevel: 1,
  });
  if (turn !== draw.turns[name]) { view.finalize(); return null; } // a later one has begun
  views[name]?.finalize();
  place.replaceChildren(node);
  place.classList.remove("coming");
  views[name] = view;
  return view;
}

// A scale that these values fill; logarithmic from `spread` on (largest over smallest).
function scaleOf(values, spread, padding = 0) {
  const known = values.filter((value) => value !== undefined);
  const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  if (low === high) {
    const margin = Math.abs(low) / 10 || 1;
    return { domain: [low - margin, high + margin], clamp: true }; // a wider interval ends at the edge
  }
  if (low > 0 && high / low > spread) return { type: "log", nice: false, padding };
  return { type: "linear", zero: false, nice: padding > 0, padding };
}

function palette(values, { series, colors }) {
  return unique(values).map((_, index) => series[index] ?? colors.struck);
}

// --- trade-off

const xField = () => (report.groups[state.group]?.x === "rate" ? "rate_per_s" : "latency_ms");

function points() {
  return matching().map((row) => ({
    ...row.numbers, row: row.index, label: row.label, front: row.front, on_front: !!row.on_front,
    precision: row.precision, color: row[state.color], pick: !!row.pick,
  }));
}

function frontLines(group) {
  return group.lines.filter((line) => line.y === state.against && !state.hidden.device.has(line.device))
    .flatMap((line) => line.points.map(([x, y], order) => ({ x, y, order, device: line.device })));
}

// What was decided, what was demanded, and what the rows have in common.
function drawAbout(group) {
  const several = report.devices.length > 1;
  const { demands, decisions } = page.words[state.group];
  byId("about").replaceChildren(
    make("h3", {}, group.title || group.name),
    ...decisions.map((each) => make("p", { className: `deploy ${each.verdict}` }, make("strong", {}, each.headline),
      several ? ` on ${each.device}` : "", make("span", { className: "soft aside" }, ` · ${each.doubt}`))),
    make("p", { className: "soft" }, [demands && `Quality: ${demands}`, group.shared && `all rows: ${group.shared}`].filter(Boolean).join(" · ")),
    make("details", { className: "soft" }, make("summary", {}, "What the front compares"),
      make("p", {}, [group.objectives.length ? `The front is of ${group.objectives.join(", ")}.` : "No front.", ...group.left_out.map((words) => `${words}.`)].join(" "))),
  );
}

function drawTradeoff() {
  state.brush = null;
  const group = report.groups[state.group];
  byId("key").hidden = true;
  byId("about").replaceChildren();
  if (!group) return draw("tradeoff", "", {}, null, { instead: "Choose one workload to see its trade-off." });
  drawAbout(group);
  const field = xField();
  const floors = state.against === "quality" ? page.words[state.group].floors : [];
  const valuesOf = (name) => matching().map((row) => row.numbers[name]);
  const all = unique(rows.map((row) => row[state.color])).sort();
  const known = inGroup().filter((row) => row.numbers[field] !== undefined && row.numbers[AXES[state.against]] !== undefined);
  return draw("tradeoff", `tradeoff.${group.x}.${state.against}`,
    { points: points(), lines: frontLines(group), floors, labels: [], leaders: [] },
    (width, theme) => ({
      height: width < 560 ? 340 : 420,
      x_scale: scaleOf(valuesOf(field), 12, 26),
      y_scale: scaleOf([...valuesOf(AXES[state.against]), ...floors.map((floor) => floor.bound)], Infinity, 26),
      x_title: group.x_title, y_title: titleOf(group), color_title: state.color, color_domain: all, color_range: palette(all, theme),
      color_shown: unique(known.map((row) => row[state.color])).sort(), shape_shown: unique(known.map((row) => row.precision)).sort(),
      shape_domain: unique(rows.map((row) => row.precision)).sort(), legend_columns: width < 560 ? 2 : 5,
    }),
    { instead: known.length ? "" : "No row of this workload has a value on both axes.", drawn: onTradeoff });
}

function onTradeoff(view) {
  refreshTradeoff(); // what was filtered while it was drawn
  view.addSignalListener("brush", (_, value) => brush(value));
  view.addEventListener("pointermove", (event, item) => hover(item?.datum?.row));
  view.addEventListener("pointerout", () => hover(undefined));
  view.addEventListener("click", (_, item) => { if (item?.datum?.row !== undefined) openRecord(item.datum.row); });
}

function titleOf(group) {
  if (state.against === "memory") return "peak memory (MiB), less is better";
  if (state.against === "energy") return "energy per inference (mJ), less is better";
  return `${group.quality_metric || "quality"}, ${group.quality_better || "higher"} is better`;
}

function brush(value) {
  state.brush = value && Object.keys(value).length ? value : null;
  state.page = 0;
  later(() => { drawTable(); drawCost(); });
}

// Filters change the points alone: scales and legends stay where they are.
function refreshTradeoff() {
  const group = report.groups[state.group];
  if (!views.tradeoff || !group) return;
  delete byId("chart-tradeoff").dataset.labelled;
  views.tradeoff.data("points", points()).data("lines", frontLines(group)).runAsync().then(labelTradeoff);
}

function highlight(index) {
  state.focus = index;
  views.tradeoff?.signal("focus", index).runAsync();
}

// --- samples

function labelSlots(chosen) {
  const names = chosen.map(nameOf);
  return (width, theme) => ({
    label_domain: names, label_range: palette(names, theme), legend_columns: width < 560 ? 1 : 2,
  });
}

function drawSamples() {
  const chosen = tickedRows().filter((row) => row.detail);
  const none = chosen.length ? "" : "Tick rows in the table below to see their samples.";
  const scale = scaleOf(chosen.flatMap((row) => [row.detail.ecdf_ms[0], row.detail.ecdf_ms.at(-1)]), 12);
  const slots = (width, theme) => ({ ...labelSlots(chosen)(width, theme), x_scale: scale });
  draw("ecdf", "ecdf", { ecdf: chosen.flatMap((row) => row.detail.ecdf_ms.map((ms, index) => (
    { ms, share: report.probabilities[index], label: nameOf(row) }))) }, slots, { instead: none });
  draw("histogram", "histogram", { bins: chosen.flatMap(binsOf) },
    (width, theme) => ({ ...slots(width, theme), width: Math.max(180, width - 24) }), { instead: none });
  byId("beyond").textContent = chosen.filter((row) => row.detail.histogram.beyond)
    .map((row) => `${nameOf(row)}: ${row.detail.histogram.beyond}`).join(", ");
  if (byId("beyond").textContent) byId("beyond").textContent = `Slower samples beyond the bars: ${byId("beyond").textContent}.`;
  drawSeries();
  refreshNumbers();
}

function binsOf(row) {
  const { low_ms: low, high_ms: high, counts, beyond = 0 } = row.detail.histogram;
  const width = (high - low) / counts.length;
  const total = counts.reduce((sum, count) => sum + count, beyond);
  return counts.map((count, index) => ({
    label: nameOf(row), low_ms: low + index * width, high_ms: low + (index + 1) * width, share: count / total,
  }));
}

function drawSeries() {
  const choice = byId("series-row");
  const chosen = tickedRows().filter((row) => row.detail);
  if (!chosen.some((row) => row.index === state.series)) state.series = chosen[0]?.index ?? -1;
  choice.replaceChildren(...chosen.map((row) => make("option", { value: row.index, selected: row.index === state.series }, nameOf(row))));
  const detail = rows[state.series]?.detail;
  if (!detail) return draw("series", "", {}, null, { instead: "No samples to show." });
  return draw("series", "series", {
    bands: detail.bands,
    series: detail.processes.flatMap((process) => process.seconds_s.map((s, index) => ({
      s, median: process.median_of_bin_ms[index], largest: process.largest_of_bin_ms[index], process: process.index }))),
    processes: detail.processes.map((process) => ({ start_s: process.start_s, name: `process ${process.index}` })),
  }, () => ({ height: 220 }));
}

// --- memory, energy, roofline

// That a chart holds only some of the rows, and where the others are.
const rest = (drawn, all, where) => (all > drawn ? `${drawn} of ${all} rows are drawn; ${where}.` : "");

function drawCost() {
  const some = shown().slice(0, MOST_BARS);
  byId("cost-rest").textContent = rest(MOST_BARS, shown().length, "the table below holds all");
  const withMemory = some.filter((row) => row.numbers.memory_mib !== undefined);
  const parts = withMemory.flatMap((row) => [["own, model loaded", row.numbers.loaded_mib], ["own, warmed up", row.numbers.warm_mib]]
    .filter(([, mib]) => mib !== undefined).map(([part, mib]) => ({ label: nameOf(row), part, mib })));
  const bars = (count) => (width) => ({ height: Math.max(60, count * (width < 460 ? 24 : 26)), legend_columns: width < 460 ? 1 : 2, label_limit: Math.min(230, width * 0.42) });
  draw("memory", "memory", { memory: withMemory.map((row) => ({ label: nameOf(row), ...row.numbers })), memory_parts: parts },
    bars(withMemory.length), { instead: withMemory.length ? "" : "The peak memory of these rows is unknown." });
  const withEnergy = some.filter((row) => row.numbers.energy_mj !== undefined);
  const index = report.fact_names.indexOf("energy in full");
  const why = unique(some.map((row) => row.facts[index]).filter(Boolean)).slice(0, 4).join("; ");
  draw("energy", "energy", { energy: withEnergy.map((row) => ({ label: nameOf(row), kind: row.energy_kind, ...row.numbers })) },
    bars(withEnergy.length), { instead: withEnergy.length ? "" : `No energy is shown. ${why || "No row was measured"}.` });
  byId("cost-gist").textContent = withEnergy.length ? "" : "energy was not measured";
  refreshNumbers();
}

function drawRoofline() {
  const known = report.roof_points.filter((point) => state.group < 0 || rows[point.row].group === state.group);
  const { roofs } = report;
  const knees = roofs.map((roof) => roof.peak_gops_per_s / roof.peak_gbytes_per_s);
  const most = Math.max(1, ...known.map((point) => point.ops_per_byte), ...knees) * 4;
  const lines = roofs.flatMap((roof, index) => [0.1, knees[index], most].map((x, order) => (
    { x, order, roof: `${roof.device}, ${roof.name}`, y: Math.min(x * roof.peak_gbytes_per_s, roof.peak_gops_per_s) })));
  const chosen = known.slice(0, MOST_TICKED).map((point) => rows[point.row]);
  const names = roofs.map((roof) => { const edge = lines.findLast((line) => line.roof === `${roof.device}, ${roof.name}`); return { ...edge, name: roof.name }; });
  byId("roofline-rest").textContent = rest(MOST_TICKED, known.length, "the numbers hold all");
  draw("roofline", "roofline", { roofs: lines, roof_names: names, roof_points: known.slice(0, MOST_TICKED).map((point) => (
    { x: point.ops_per_byte, y: point.gops_per_s, label: nameOf(rows[point.row]) })) },
    (width, theme) => ({ ...labelSlots(chosen)(width, theme), height: 300 }),
    { instead: known.length && roofs.length ? "" : `Unknown: ${report.roof_unknown || "nothing was recorded"}.` });
  byId("roofline-gist").textContent = known.length && roofs.length ? "" : "unknown";
}

function drawCharts() {
  drawTradeoff();
  drawSamples();
  drawCost();
  drawRoofline();
  drawScalings();
  drawRates();
  drawBudgets();
}
