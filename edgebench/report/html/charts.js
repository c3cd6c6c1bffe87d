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

// Draws a chart anew, or says in its place why there is none.
async function draw(name, template, datasets, slots, instead = "") {
  const place = byId(`chart-${name}`);
  const turn = (draw.turns[name] = (draw.turns[name] ?? 0) + 1);
  views[name]?.finalize();
  delete views[name];
  if (instead) {
    place.replaceChildren(make("p", { className: "note" }, instead));
    return null;
  }
  const theme = page.themes[themeName()];
  const width = Math.max(220, place.clientWidth);
  const colors = { ...theme.colors, accent: theme.series[0] };
  const spec = fill(page.templates[template], { width, height: 240, ...colors, ...slots(width) });
  spec.datasets = datasets;
  spec.autosize = { type: name === "histogram" ? "pad" : "fit-x", contains: "padding" };
  const points = Math.max(0, ...Object.values(datasets).map((data) => data.length));
  const node = make("div");
  const { view } = await vegaEmbed(node, spec, {
    mode: "vega-lite", ast: true, actions: false, tooltip: false, defaultStyle: false,
    renderer: points > CANVAS_FROM ? "canvas" : "svg", config: theme.config, loader: LOADER, logLevel: 1,
  });
  if (turn !== draw.turns[name]) { view.finalize(); return null; } // a later one has begun
  place.replaceChildren(node);
  views[name] = view;
  return view;
}
draw.turns = {};

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

function palette(values) {
  const { series, colors } = page.themes[themeName()];
  return unique(values).map((_, index) => series[index] ?? colors.struck);
}

// --- trade-off

const xField = () => (report.groups[state.group]?.x === "rate" ? "rate_per_s" : "latency_ms");

function points() {
  const field = xField();
  const known = inGroup().map((row) => row.numbers[field]).filter((value) => value !== undefined);
  const middle = (Math.min(...known) + Math.max(...known)) / 2;
  return matching().map((row) => ({
    side: row.numbers[field] > middle ? "left" : "right",
    ...row.numbers, row: row.index, label: row.label, front: row.front, precision: row.precision,
    color: row[state.color], pick: !!row.pick,
  }));
}

function frontLines(group) {
  return group.lines.filter((line) => line.y === state.against && !state.hidden.device.has(line.device))
    .flatMap((line) => line.points.map(([x, y], order) => ({ x, y, order, device: line.device })));
}

async function drawTradeoff() {
  state.brush = null;
  const group = report.groups[state.group];
  const about = byId("about");
  about.textContent = "";
  if (!group) return draw("tradeoff", "", {}, null, "Choose one workload to see its trade-off.");
  about.textContent = [group.title, group.shared && `all: ${group.shared}`,
    group.objectives.length && `front of ${group.objectives.join(", ")}`, ...group.left_out].filter(Boolean).join(" · ");
  const field = xField();
  const valuesOf = (name) => matching().map((row) => row.numbers[name]);
  const all = unique(rows.map((row) => row[state.color])).sort();
  const drawn = inGroup().some((row) => row.numbers[field] !== undefined && row.numbers[AXES[state.against]] !== undefined);
  const view = await draw("tradeoff", `tradeoff.${group.x}.${state.against}`,
    { points: points(), lines: frontLines(group) },
    (width) => ({
      height: width < 560 ? 320 : 400,
      x_scale: scaleOf(valuesOf(field), 12, 18), y_scale: scaleOf(valuesOf(AXES[state.against]), Infinity, 18),
      x_title: group.x_title, y_title: titleOf(group), color_title: state.color, color_domain: all, color_range: palette(all),
      shape_domain: unique(rows.map((row) => row.precision)).sort(), legend_columns: width < 560 ? 2 : 4,
    }),
    drawn ? "" : "No row of this workload has a value on both axes.");
  if (!view) return;
  refreshTradeoff(); // what was filtered while it was drawn
  view.addSignalListener("brush", (_, value) => brush(value));
  view.addEventListener("pointermove", (event, item) => hover(item?.datum?.row, event));
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
  views.tradeoff.data("points", points()).data("lines", frontLines(group)).runAsync();
}

function highlight(index) {
  state.focus = index;
  views.tradeoff?.signal("focus", index).runAsync();
}

// --- samples

function labelSlots(chosen) {
  const names = chosen.map(nameOf);
  return (width) => ({
    label_domain: names, label_range: palette(names), legend_columns: width < 560 ? 1 : 2,
  });
}

function drawSamples() {
  const chosen = tickedRows().filter((row) => row.detail);
  const none = chosen.length ? "" : "Tick rows in the table below to see their samples.";
  const scale = scaleOf(chosen.flatMap((row) => [row.detail.ecdf_ms[0], row.detail.ecdf_ms.at(-1)]), 12);
  const slots = (width) => ({ ...labelSlots(chosen)(width), x_scale: scale });
  draw("ecdf", "ecdf", { ecdf: chosen.flatMap((row) => row.detail.ecdf_ms.map((ms, index) => (
    { ms, share: report.probabilities[index], label: nameOf(row) }))) }, slots, none);
  draw("histogram", "histogram", { bins: chosen.flatMap(binsOf) },
    (width) => ({ ...slots(width), width: Math.max(180, width - 24) }), none);
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
  if (!detail) return draw("series", "", {}, null, "No samples to show.");
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
  const bars = (count) => (width) => ({ height: Math.max(60, count * (width < 460 ? 24 : 26)), legend_columns: width < 460 ? 1 : 2, label_limit: Math.min(190, width * 0.36) });
  draw("memory", "memory", { memory: withMemory.map((row) => ({ label: nameOf(row), ...row.numbers })), memory_parts: parts },
    bars(withMemory.length), withMemory.length ? "" : "The peak memory of these rows is unknown.");
  const withEnergy = some.filter((row) => row.numbers.energy_mj !== undefined);
  const index = report.fact_names.indexOf("energy in full");
  const why = unique(some.map((row) => row.facts[index]).filter(Boolean)).slice(0, 4).join("; ");
  draw("energy", "energy", { energy: withEnergy.map((row) => ({ label: nameOf(row), kind: row.energy_kind, ...row.numbers })) },
    bars(withEnergy.length), withEnergy.length ? "" : `No energy is shown. ${why || "No row was measured"}.`);
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
    (width) => ({ ...labelSlots(chosen)(width), height: 300 }),
    known.length && roofs.length ? "" : `Unknown: ${report.roof_unknown || "nothing was recorded"}.`);
}

function drawCharts() {
  drawTradeoff();
  drawSamples();
  drawCost();
  drawRoofline();
  drawScalings();
}
