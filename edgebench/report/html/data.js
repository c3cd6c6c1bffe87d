// The report's model, what the reader chose to see of it, and small helpers to write text into the
// page. Values of result files reach the page through textContent alone.
const page = JSON.parse(document.getElementById("report").textContent);
const report = page.report;
const rows = report.rows;
rows.forEach((row, index) => { row.index = index; });

const FRONTS = { yes: "on the front", undecided: "undecided", no: "dominated", struck: "struck" };
const AXES = { quality: "quality", memory: "memory_mib", energy: "energy_mj" };
const PAGE_SIZE = 50;
const MOST_TICKED = 8;
const MOST_BARS = 24;

const state = {
  group: report.groups.length ? 0 : -1, // -1: all of them
  against: "quality",
  color: report.devices.length > 1 ? "device" : "backend",
  search: "",
  hidden: { device: new Set(), backend: new Set(), precision: new Set(), front: new Set() },
  brush: null, // field -> [low, high]
  sort: { key: null, down: false },
  page: 0,
  ticked: new Set(),
  focus: -1,
  series: -1,
};

function make(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const inGroup = () => (state.group < 0 ? rows.map((_, index) => index) : report.groups[state.group].rows)
  .map((index) => rows[index]);

function matches(row) {
  for (const [facet, hidden] of Object.entries(state.hidden)) if (hidden.has(row[facet])) return false;
  if (state.search) {
    row.text ??= [row.id, row.label, row.device, because(row), FRONTS[row.front]].join(" ").toLowerCase();
    if (!state.search.split(/\s+/).every((word) => row.text.includes(word))) return false;
  }
  return true;
}

function brushed(row) {
  return !state.brush || Object.entries(state.brush).every(([field, [low, high]]) => {
    const value = row.numbers[field];
    return value !== undefined && value >= low && value <= high;
  });
}

const matching = () => inGroup().filter(matches);
const shown = () => matching().filter(brushed);

// Names of rows: with the device where there are several, with the workload where all are shown.
function nameOf(row) {
  const device = report.devices.length > 1 ? ` · ${row.device}` : "";
  const group = report.groups[row.group];
  return row.label + device + (state.group < 0 ? ` · ${group.name} ${group.scenario}` : "");
}

// The rows whose samples are drawn at the start: choices, runners-up, then the front.
function tickDefaults() {
  const wanted = [];
  for (const index of state.group < 0 ? [] : [state.group]) {
    for (const decision of report.groups[index].decisions) wanted.push(decision.row, decision.runner_up);
    wanted.push(...report.groups[index].rows.filter((row) => rows[row].front === "yes"));
    wanted.push(...report.groups[index].rows);
  }
  const drawable = wanted.filter((index) => index !== null && rows[index].detail);
  state.ticked = new Set(unique(drawable).slice(0, 4));
  state.series = [...state.ticked][0] ?? -1;
}

const tickedRows = () => [...state.ticked].map((index) => rows[index]);

// What a row shows of a figure: [value, what stands beside it].
const figureOf = (row, name) => row.figures[report.figure_names.indexOf(name)] ?? ["", ""];
const unable = (row) => row.status === "unsupported";
const inShort = ({ because: [first, ...rest] = [] }) => (first?.words ?? "") + (rest.length ? `, and ${rest.length} more reason${rest.length > 1 ? "s" : ""}` : "");
const because = (row) => (row.because ?? []).map((each) => each.words).join("; ");

// The full record of a row as a list of terms.
function recordOf(row) {
  const list = make("dl", { className: "record" });
  const add = (term, words) => { if (words && words !== "-") list.append(make("dt", {}, term), make("dd", {}, words)); };
  add("row", row.id);
  add("device", row.device);
  add("front", FRONTS[row.front] + (row.probability === undefined ? "" : `, probability ${row.probability.toFixed(2)}`));
  add("not compared", row.front_note);
  add("why struck", because(row));
  add("fix", row.fix);
  row.facts.forEach((words, index) => add(report.fact_names[index], words));
  return list;
}
