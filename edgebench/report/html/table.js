// The table of rows: by merit or sorted, filtered, a page at a time.
const COLUMNS = [
  { name: "row", sort: (row) => nameOf(row).toLowerCase() },
  { name: "p50", figure: true, sort: (row) => row.numbers.latency_ms },
  { name: "p90", figure: true, sort: (row) => row.numbers.p90_ms },
  { name: "items/s", figure: true, sort: (row) => row.numbers.rate_per_s },
  { name: "memory", figure: true, sort: (row) => row.numbers.memory_mib },
  { name: "quality", figure: true, sort: (row) => row.numbers.quality },
  { name: "energy", figure: true, sort: (row) => row.numbers.energy_mj },
  { name: "front", sort: (row) => ["yes", "undecided", "no", "struck"].indexOf(row.front) },
];
// A figure has a column where some row has a value.
const columns = () => COLUMNS.filter((column) => !column.figure || inGroup().some((row) => figureOf(row, column.name)[0]));

function drawHead() {
  const cells = columns().map((column) => {
    const button = make("button", { type: "button" }, column.name);
    button.addEventListener("click", () => sortBy(column.name));
    const cell = make("th", { scope: "col", className: column.figure ? "number" : "" }, button);
    if (state.sort.key === column.name) cell.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
    return cell;
  });
  const tick = make("th", { scope: "col", className: "plain act" }, make("span", { className: "visually-hidden" }, "show samples"));
  byId("table").tHead.replaceChildren(make("tr", {}, tick, ...cells));
}

function sortBy(name) {
  state.sort = { key: name, down: state.sort.key === name && !state.sort.down };
  state.page = 0;
  drawTable();
  byId("table").tHead.querySelectorAll("button")[columns().findIndex((column) => column.name === name)].focus();
}

// Unknown values come last whichever way it is sorted.
function sorted(list) {
  const column = COLUMNS.find((each) => each.name === state.sort.key);
  if (!column) return list;
  const sign = state.sort.down ? -1 : 1;
  return list.map((row) => [column.sort(row), row]).sort(([a], [b]) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return (a < b ? -1 : a > b ? 1 : 0) * sign;
  }).map(([, row]) => row);
}

// By merit the rows stand below the name of their device, which need not stand in each of theirs.
const byDevice = () => state.sort.key === null && state.group >= 0 && report.devices.length > 1;

function figureCell(row, name) {
  const [value, beside] = figureOf(row, name);
  return make("td", { className: "number", "data-name": name }, value || "-", make("small", {}, beside));
}

function rowNodes(row) {
  const tick = make("input", { type: "checkbox", checked: state.ticked.has(row.index), disabled: !row.detail, "aria-label": `samples of ${nameOf(row)}` });
  tick.addEventListener("change", () => toggle(row.index, tick));
  const open = make("button", { type: "button", className: "name", "aria-haspopup": "dialog" }, byDevice() ? row.label : nameOf(row));
  open.addEventListener("click", () => openRecord(row.index));
  const node = make("tr", { className: `${row.front} ${row.pick ? "choice" : ""} ${row.index === state.focus ? "focus" : ""}`, "data-row": row.index },
    make("td", { className: "act tick" }, tick), make("th", { scope: "row" }, open),
    ...columns().filter((column) => column.figure).map((column) => figureCell(row, column.name)),
    make("td", { className: `front-${row.front}`, "data-name": "front" }, row.pick ? "the choice" : FRONTS[row.front]));
  node.addEventListener("pointerenter", () => highlight(row.index));
  node.addEventListener("focusin", () => highlight(row.index));
  const remarks = [inShort(row), row.facts[report.fact_names.indexOf("remarks")]].filter(Boolean);
  if (!remarks.length) return [node];
  return [node, make("tr", { className: "because" }, make("td", { className: "act" }), make("td", { colSpan: COLUMNS.length }, ...remarks.map((words) => make("p", {}, words))))];
}

// What a backend does not support: one line, which and why are folded.
function unableNodes(list) {
  return unique(list.map((row) => row.backend)).map((backend) => {
    const own = list.filter((row) => row.backend === backend);
    const reasons = unique(own.map(because)).map((why) => make("li", {}, why, " ",
      make("span", { className: "soft" }, own.filter((row) => because(row) === why).map(nameOf).join(", "))));
    const words = `${backend}: ${own.length} variant${own.length === 1 ? "" : "s"} unsupported`;
    return make("tr", { className: "unable" }, make("td", { className: "act" }),
      make("td", { colSpan: COLUMNS.length }, make("details", {}, make("summary", {}, words), make("ul", {}, ...reasons))));
  });
}

function bodyOf(part) {
  if (!byDevice()) return part.flatMap(rowNodes);
  return unique(part.map((row) => row.device)).flatMap((device) => [
    make("tr", { className: "device" }, make("th", { colSpan: COLUMNS.length + 1, scope: "colgroup" }, device)),
    ...part.filter((row) => row.device === device).flatMap(rowNodes)]);
}

function toggle(index, tick) {
  if (!tick.checked) state.ticked.delete(index);
  else if (state.ticked.size < MOST_TICKED) state.ticked.add(index);
  else {
    tick.checked = false;
    byId("spoken").textContent = `At most ${MOST_TICKED} rows are drawn at once.`;
    return;
  }
  drawSamples();
}

function drawTable() {
  const all = sorted(shown());
  const list = all.filter((row) => !unable(row));
  const pages = Math.max(1, Math.ceil(list.length / PAGE_SIZE));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE_SIZE;
  const part = matchMedia("print").matches ? list.slice(0, 400) : list.slice(first, first + PAGE_SIZE);
  const last = state.page === pages - 1 || part.length === list.length;
  drawHead();
  byId("table").tBodies[0].replaceChildren(...bodyOf(part), ...(last ? unableNodes(all.filter(unable)) : []));
  byId("count").textContent = `${all.length} of ${inGroup().length} rows` + (state.brush ? ", within the region drawn" : "");
  byId("page").textContent = list.length ? `${first + 1} to ${first + part.length} of ${list.length}` : "no rows";
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= pages - 1;
  byId("pager").hidden = pages === 1;
  byId("commands").replaceChildren(...part.map((row) => make("li", {}, `${nameOf(row)} on ${row.device}`, ...commandOf(row))));
}

// --- the numbers beside each chart

const NUMBERS = {
  ecdf: () => {
    const shares = [0.02, 0.1, 0.24, 0.5, 0.74, 0.9, 0.98, 0.99, 0.999, 1];
    const at = shares.map((share) => report.probabilities.indexOf(share));
    return [["share of queries", ...shares.map((share) => `${+(share * 100).toFixed(1)} %`)],
      ...tickedRows().filter((row) => row.detail).map((row) => [nameOf(row), ...at.map((index) => `${row.detail.ecdf_ms[index] ?? "-"} ms`)])];
  },
  series: () => {
    const detail = rows[state.series]?.detail;
    if (!detail) return [];
    return [["process", "samples", "median", "what to know"], ...detail.processes.map((process) => [String(process.index), String(process.samples), `${process.median_ms} ms`,
      detail.bands.filter((band) => band.process === process.index).map((band) => band.words).join("; ")])];
  },
  memory: () => [["row", "peak", "model loaded", "warmed up"], ...shown().slice(0, MOST_BARS).map(({ numbers, ...row }) =>
    [nameOf(row), ...[numbers.memory_mib, numbers.loaded_mib, numbers.warm_mib].map((mib) => (mib === undefined ? "unknown" : `${mib.toFixed(1)} MiB`))])],
  energy: () => [["row", "energy per inference"], ...shown().slice(0, MOST_BARS).map((row) => [nameOf(row), row.facts[report.fact_names.indexOf("energy in full")] || "unknown"])],
  roofline: () => [["row", "operations per byte", "GOP/s", "of the peak", "bound by"], ...report.roof_points.filter((point) => state.group < 0 || rows[point.row].group === state.group)
    .map((point) => [nameOf(rows[point.row]), point.ops_per_byte.toPrecision(3), point.gops_per_s.toPrecision(3), point.efficiency === null ? "unknown" : `${(point.efficiency * 100).toFixed(1)} %`, point.bound || "unknown"])],
};

function refreshNumbers() {
  for (const place of document.querySelectorAll("details[data-numbers][open]")) {
    const [head = [], ...body] = NUMBERS[place.dataset.numbers]();
    place.querySelector("div").replaceChildren(make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((word) => make("th", { scope: "col" }, word)))),
      make("tbody", {}, ...body.map(([name, ...words]) => make("tr", {}, make("th", { scope: "row" }, name), ...words.map((word) => make("td", {}, word)))))));
  }
}
