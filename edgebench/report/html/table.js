// The table of rows: sorted, filtered, a page at a time; and the full record of each row.
const COLUMNS = [
  { name: "row", sort: (row) => nameOf(row).toLowerCase() },
  { name: "p50", fact: "p50", sort: (row) => row.numbers.latency_ms },
  { name: "p90", fact: "p90", sort: (row) => row.numbers.p90_ms },
  { name: "items/s", fact: "items/s", sort: (row) => row.numbers.rate_per_s },
  { name: "memory", fact: "memory", sort: (row) => row.numbers.memory_mib },
  { name: "quality", fact: "quality", sort: (row) => row.numbers.quality },
  { name: "energy", fact: "energy", sort: (row) => row.numbers.energy_mj },
  { name: "front", sort: (row) => ["yes", "undecided", "no", "struck"].indexOf(row.front) },
];
COLUMNS.forEach((column) => { column.index = report.fact_names.indexOf(column.fact); });
const opened = new Set();
// Energy has a column where some row has a value; elsewhere its chart says why there is none.
const columns = () => COLUMNS.filter((column) => column.name !== "energy" || inGroup().some(column.sort));

function drawHead() {
  const cells = columns().map((column) => {
    const button = make("button", { type: "button" }, column.name);
    button.addEventListener("click", () => sortBy(column.name));
    const cell = make("th", { scope: "col", className: column.fact ? "number" : "" }, button);
    if (state.sort.key === column.name) cell.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
    return cell;
  });
  const tick = make("th", { scope: "col", className: "plain act" }, make("span", { className: "visually-hidden" }, "show samples"));
  const more = make("th", { scope: "col", className: "plain act" }, make("span", { className: "visually-hidden" }, "record"));
  byId("table").tHead.replaceChildren(make("tr", {}, tick, ...cells, more));
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

function rowNode(row) {
  const tick = make("input", { type: "checkbox", checked: state.ticked.has(row.index), disabled: !row.detail, "aria-label": `samples of ${nameOf(row)}` });
  tick.addEventListener("change", () => toggle(row.index, tick));
  const name = make("th", { scope: "row", className: "full" }, make("span", { className: "name" }, nameOf(row)));
  if (row.pick) name.append(make("span", { className: "under" }, "the choice"));
  if (row.why) name.append(make("span", { className: "under why" }, row.why));
  const remarks = row.facts[report.fact_names.indexOf("remarks")];
  if (remarks) name.append(make("span", { className: "under" }, remarks));
  const cells = columns().filter((column) => column.fact).map((column) =>
    make("td", { className: "number", "data-name": column.name }, row.facts[column.index] || "-"));
  const open = opened.has(row.index);
  const more = make("button", { type: "button", "aria-expanded": String(open), "aria-label": `record of ${nameOf(row)}` }, "Record");
  more.addEventListener("click", () => { opened[opened.has(row.index) ? "delete" : "add"](row.index); drawTable(); focusRecord(row.index); });
  const node = make("tr", { className: `${row.front} ${row.index === state.focus ? "focus" : ""}`, "data-row": row.index },
    make("td", { className: "act tick" }, tick), name, ...cells,
    make("td", { className: `front-${row.front}`, "data-name": "front" }, FRONTS[row.front]),
    make("td", { className: "act" }, more));
  node.addEventListener("pointerenter", () => highlight(row.index));
  node.addEventListener("focusin", () => highlight(row.index));
  return open ? [node, make("tr", { className: "open" }, make("td", { colSpan: COLUMNS.length + 2, className: "full" }, recordOf(row), ...commandOf(row)))] : [node];
}

function commandOf(row) {
  if (!row.command) return [make("p", { className: "note" }, row.command_note || "No command is known.")];
  const copy = make("button", { type: "button", className: "quiet" }, "Copy");
  copy.addEventListener("click", () => navigator.clipboard?.writeText(row.command).then(() => { copy.textContent = "Copied"; }));
  return [make("pre", {}, make("code", {}, row.command)), ...(row.command_note ? [make("p", { className: "soft" }, row.command_note)] : []), copy];
}

function focusRecord(index) {
  byId("table").querySelector(`tr[data-row="${index}"] button`)?.focus();
}

function openRecord(index) {
  hover(undefined);
  opened.add(index);
  const place = sorted(shown()).findIndex((row) => row.index === index);
  state.page = Math.max(0, Math.floor(place / PAGE_SIZE));
  drawTable();
  focusRecord(index);
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
  const list = sorted(shown());
  const pages = Math.max(1, Math.ceil(list.length / PAGE_SIZE));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE_SIZE;
  const part = matchMedia("print").matches ? list.slice(0, 400) : list.slice(first, first + PAGE_SIZE);
  drawHead();
  byId("table").tBodies[0].replaceChildren(...part.flatMap(rowNode));
  byId("count").textContent = `${list.length} of ${inGroup().length} rows` + (state.brush ? ", within the region drawn" : "");
  byId("page").textContent = list.length ? `${first + 1} to ${first + part.length} of ${list.length}` : "no rows";
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= pages - 1;
  byId("commands").replaceChildren(...part.map((row) =>
    make("li", {}, `${nameOf(row)} on ${row.device}`, ...commandOf(row).filter((node) => node.tagName !== "BUTTON"))));
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
      detail.bands.map((band) => band.words).filter((words) => words.startsWith(`process ${process.index}:`)).map((words) => words.split(": ").slice(1).join(": ")).join("; ")])];
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
