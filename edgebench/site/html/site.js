"use strict";
// Every text of a result file reaches the page through textContent or setAttribute, and can act in neither.
(() => {
  const PAGE_ROWS = 100;
  const SVG = "http://www.w3.org/2000/svg";
  const byId = id => document.getElementById(id);
  const page = document.body.dataset.page;
  let rows = [], columns = [], shown = [], first = 0;

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function settings(variant) {
    const rest = Object.entries(variant).filter(([axis]) => axis !== "precision");
    const words = rest.sort().map(([axis, value]) => `${axis}=${value}`);
    return [variant.precision, ...words].filter(word => word !== undefined).join(" ");
  }

  const day = started => started.slice(0, 10) || "-";
  const number = value => value === null ? "-" : value.toFixed(3);
  const steps = row => row.series.reduce((count, series) => count + series.steps.length, 0);

  const COLUMNS = {
    index: [
      ["device", row => element("a", row.device, { href: `device.html#${row.page}` })],
      ["workload", row => `${row.workload}@${row.workload_version}`],
      ["scenario", row => row.scenario],
      ["deploy", row => row.backend === null ? "nothing is good enough" : `${row.backend} ${settings(row.variant)}`],
      ["speed", row => row.value, true],
      ["quality", row => number(row.quality), true],
      ["rows", row => String(row.rows), true],
      ["newest", row => element("time", day(row.started_utc))],
      ["steps", row => row.steps ? element("a", String(row.steps), { href: `device.html#${row.page}`, class: "step" }) : "", true],
      ["report", row => row.report ? element("a", "report", { href: row.report }) : ""],
    ],
    device: [
      ["deployment", row => `${row.backend} ${settings(row.variant)}`],
      ["p50", row => row.latency, true],
      ["items/s", row => row.throughput, true],
      ["memory", row => row.memory, true],
      ["quality", row => number(row.quality), true],
      ["energy", row => row.energy, true],
      ["newest", row => element("time", day(row.started_utc))],
      ["status", row => row.status === "ok" && !row.ranked ? "not ranked" : row.status],
      ["trend", row => trendButton(row)],
    ],
  };

  function trendButton(row) {
    const points = row.series.reduce((most, series) => Math.max(most, series.points.length), 0);
    if (points < 2) return "";
    const words = steps(row) ? `${steps(row)} step${steps(row) > 1 ? "s" : ""}` : `${points} points`;
    const button = element("button", words, { type: "button", class: steps(row) ? "step" : "" });
    button.addEventListener("click", () => drawTrend(row));
    return button;
  }

  function draw() {
    const body = byId("table").tBodies[0];
    const lines = shown.slice(first, first + PAGE_ROWS);
    body.replaceChildren(...(page === "index" ? lines.map(lineOf) : grouped(lines)));
    const last = Math.min(first + PAGE_ROWS, shown.length);
    byId("count").textContent = `${shown.length} of ${rows.length}`;
    byId("place").textContent = shown.length ? `${first + 1} to ${last}` : "nothing matches";
    byId("before").disabled = first === 0;
    byId("after").disabled = last === shown.length;
  }

  // Rows below the name of their workload; variants that a backend does not support are one line that opens.
  function grouped(lines) {
    const made = [];
    let workload = "", unable = "";
    for (const row of lines) {
      const name = `${row.workload}@${row.workload_version} ${row.scenario}`;
      if (name !== workload) made.push(wide("group", element("strong", name)));
      if (row.status !== "unsupported") made.push(lineOf(row));
      else if (name !== workload || row.backend !== unable) made.push(unsupported(lines.filter(other =>
        other.status === "unsupported" && other.backend === row.backend && `${other.workload}@${other.workload_version} ${other.scenario}` === name)));
      workload = name;
      unable = row.status === "unsupported" ? row.backend : "";
    }
    return made;
  }

  function wide(name, content) {
    const line = element("tr", undefined, { class: name });
    const cell = element("td", undefined, { colspan: columns.length });
    cell.append(content);
    line.append(cell);
    return line;
  }

  function unsupported(some) {
    const details = element("details");
    const list = element("ul");
    list.append(...some.map(row => element("li", settings(row.variant))));
    details.append(element("summary", `${some[0].backend}: ${some.length} variant${some.length > 1 ? "s" : ""} unsupported`), list);
    return wide("unable", details);
  }

  function lineOf(row) {
    const line = element("tr");
    if (row.ranked === false) line.className = "struck";
    for (const [name, make, right] of columns) {
      const cell = element("td", undefined, { class: right ? "number" : "", "data-name": name });
      cell.append(make(row));
      line.append(cell);
    }
    return line;
  }

  function filter() {
    const chosen = name => byId(name) ? byId(name).value : "";
    const device = chosen("device"), workload = chosen("workload");
    const words = chosen("search").toLowerCase().split(/[\s,]+/).filter(Boolean);
    shown = rows.filter(row =>
      (!device || row.device === device) && (!workload || row.workload === workload) &&
      (!byId("stepped").checked || (page === "index" ? row.steps : steps(row))) &&
      words.every(word => row.words.includes(word)));
    first = 0;
    draw();
  }

  function options(id, values) {
    for (const value of [...new Set(values)].sort()) byId(id).append(element("option", value, { value }));
  }

  function start(data) {
    rows = page === "index" ? data.newest : data.cells;
    for (const row of rows) {
      row.words = [row.device, row.workload, row.scenario, row.backend, settings(row.variant)].join(" ").toLowerCase();
    }
    // Steps and trends are columns only where there are some.
    columns = COLUMNS[page].filter(([name, make]) => !["steps", "trend", "energy"].includes(name) || rows.some(row => ![ "", "-", "0"].includes(make(row))));
    byId("table").tHead.rows[0].append(...columns.map(
      ([name, , right]) => element("th", name, right ? { scope: "col", class: "number" } : { scope: "col" })));
    options("workload", rows.map(row => row.workload));
    if (page === "index") startIndex(data); else startDevice(data);
    byId("controls").addEventListener("submit", event => event.preventDefault());
    byId("controls").addEventListener("input", filter);
    byId("before").addEventListener("click", () => { first -= PAGE_ROWS; draw(); });
    byId("after").addEventListener("click", () => { first += PAGE_ROWS; draw(); });
    filter();
    document.documentElement.dataset.ready = "";
  }

  function startIndex(data) {
    document.title = byId("title").textContent = data.title;
    byId("measured").textContent = `${data.rows} rows of ${data.runs} runs; the newest row of each cell counts`;
    options("device", rows.map(row => row.device));
    byId("notes").append(...data.notes.map(note => element("li", note)));
  }

  function startDevice(data) {
    document.title = byId("title").textContent = data.device;
    const [newest, ...earlier] = data.reports;
    if (newest) {
      byId("report").href = newest.page;
      byId("report").hidden = false;
    }
    byId("reports").hidden = !earlier.length;
    byId("reports").lastElementChild.append(...earlier.map(link => {
      const item = element("li");
      item.append(element("a", `${day(link.started_utc)} ${link.run}`, { href: link.page }));
      return item;
    }));
  }

  function drawTrend(row) {
    byId("trend-head").textContent = `${row.workload} ${row.backend} ${settings(row.variant)}`;
    byId("trend").hidden = false;
    byId("charts").replaceChildren(...row.series.map(figure));
    byId("trend").scrollIntoView({ block: "start" });
  }

  function figure(series) {
    const made = element("figure");
    made.append(element("figcaption", `${series.metric}, ${series.points.length} points`), chart(series));
    for (const step of series.steps) {
      const share = step.change === null ? "" : `${step.change > 0 ? "+" : ""}${(100 * step.change).toFixed(1)} %: `;
      const why = step.explained.join("; ") || (step.commits.length ? `commits ${step.commits.map(c => c.slice(0, 10)).join("..")}` : "nothing recorded changed");
      made.append(element("p", `${share}${words(step.before, series.unit)} to ${words(step.after, series.unit)} from ${day(series.points[step.at].started_utc)} on; ${why}`, { class: "step" }));
    }
    return made;
  }

  const UNITS = { ns: [[1e9, "s"], [1e6, "ms"], [1e3, "us"], [1, "ns"]], bytes: [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [1, "B"]] };
  function words(value, unit) {
    for (const [size, name] of UNITS[unit] || []) if (Math.abs(value) >= size) return `${(value / size).toPrecision(3)} ${name}`;
    return unit === "per_s" ? `${value.toPrecision(3)}/s` : value.toPrecision(3);
  }

  function chart(series) {
    // As wide as the page, so that its words keep their size on a telephone.
    const width = Math.min(Math.max(byId("charts").clientWidth - 42, 260), 1100), height = 240, left = 80, right = 12, top = 12, bottom = 24;
    const points = series.points, usual = points.filter(point => !point.outlier);
    const values = (usual.length ? usual : points).map(point => point.value);
    let low = Math.min(...values), high = Math.max(...values);
    const spread = high - low || Math.abs(low) * 0.02 || 1;
    low -= spread * 0.4; high += spread * 0.4;
    const x = at => left + (width - left - right) * (points.length > 1 ? at / (points.length - 1) : 0.5);
    const y = value => top + (height - top - bottom) * (1 - (Math.min(Math.max(value, low), high) - low) / (high - low));
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${series.metric} over ${points.length} points, ${series.steps.length} steps` });
    const line = (name, x1, y1, x2, y2) => svg.append(drawn("line", { class: name, x1, y1, x2, y2 }));
    for (const value of [low + spread * 0.4, high - spread * 0.4]) {
      line("axis", left, y(value), width - right, y(value));
      svg.append(drawn("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, words(value, series.unit)));
    }
    points.forEach((point, at) => {
      if (point.low !== null && point.high !== null) line("band", x(at), y(point.low), x(at), y(point.high));
    });
    svg.append(drawn("polyline", { class: "line", points: points.map((point, at) => point.outlier ? "" : `${x(at)},${y(point.value)}`).filter(Boolean).join(" ") }));
    points.forEach((point, at) => {
      const dot = drawn("circle", { class: point.outlier ? "out" : "dot", cx: x(at), cy: y(point.value), r: 3.5 });
      dot.append(drawn("title", {}, `${words(point.value, series.unit)}, ${day(point.started_utc)}, ${point.runs[0]}`));
      svg.append(dot);
    });
    const edges = [0, ...series.steps.map(step => step.at), points.length];
    series.steps.forEach((step, place) => {
      const middle = (x(step.at - 1) + x(step.at)) / 2;
      line("change", middle, top, middle, height - bottom);
      line("level", x(edges[place]), y(step.before), x(step.at - 1), y(step.before));
      line("level", x(step.at), y(step.after), x(edges[place + 2] - 1), y(step.after));
    });
    svg.append(drawn("text", { x: left, y: height - 6 }, day(points[0].started_utc)));
    svg.append(drawn("text", { x: width - right, y: height - 6, "text-anchor": "end" }, day(points[points.length - 1].started_utc)));
    return svg;
  }

  function drawn(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  window.edgebenchData = start;
  const place = Number.parseInt(location.hash.slice(1), 10);
  const name = page === "index" ? "index" : `device-${Number.isInteger(place) && place >= 0 ? place : 0}`;
  document.body.append(element("script", undefined, { src: `data/${name}.js` }));
})();
