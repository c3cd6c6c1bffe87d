// The card of a point under the pointer, and the full record of a row. Escape closes either; a dialog
// of the browser gives the focus back to where it was opened.
function commandOf(row) {
  const note = row.command_note ? [make("p", { className: "soft" }, row.command_note)] : [];
  if (!row.command) return note.length ? note : [make("p", { className: "soft" }, "No command is known.")];
  return [make("pre", {}, make("code", {}, row.command)), ...note];
}

function openRecord(index) {
  const row = rows[index];
  hover(undefined);
  const copy = make("button", { type: "button", className: "quiet" }, "Copy the command");
  copy.addEventListener("click", () => navigator.clipboard?.writeText(row.command).then(() => { copy.textContent = "Copied"; }));
  byId("record-name").textContent = nameOf(row);
  byId("record-body").replaceChildren(recordOf(row), make("h3", {}, "Measure it again"), ...commandOf(row), ...(row.command ? [copy] : []));
  byId("record").showModal();
  byId("record").scrollTop = 0;
}

byId("record-close").addEventListener("click", () => byId("record").close());
byId("record").addEventListener("click", (event) => { if (event.target === byId("record")) byId("record").close(); });

const TOLD = ["p50", "p90", "items/s", "memory", "quality", "energy"];

function cardOf(row) {
  const list = make("dl", {});
  for (const name of TOLD) {
    const [value, beside] = figureOf(row, name);
    if (value) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, value, " ", make("small", {}, beside))));
  }
  const why = row.front === "struck" ? make("p", { className: "why" }, because(row)) : "";
  return [make("strong", {}, nameOf(row)), make("p", { className: "soft" }, row.pick ? "the choice" : FRONTS[row.front]), why, list];
}

function hover(index) {
  const tip = byId("tip");
  const at = views.tradeoff && index !== undefined && pixelsOf(views.tradeoff, rows[index]);
  if (!at) { tip.hidden = true; return; }
  if (tip.hidden || tip.dataset.row !== String(index)) {
    tip.dataset.row = index;
    tip.replaceChildren(...cardOf(rows[index]));
    tip.hidden = false;
  }
  const chart = byId("chart-tradeoff").querySelector("svg, canvas").getBoundingClientRect();
  const [left, top] = views.tradeoff.origin();
  const { left: padX, top: padY } = views.tradeoff.padding();
  beside(tip, chart.left + left + padX + at.x, chart.top + top + padY + at.y);
}

// Puts the card beside a point of the window, never over it: on the side that has most room for it.
function beside(tip, x, y) {
  const GAP = 24; // the ring around the point stays free as well
  const { width, height } = tip.getBoundingClientRect();
  const within = (value, most) => Math.max(8, Math.min(value, most - 8));
  const sides = [
    { room: innerWidth - x - GAP - width, left: x + GAP, top: within(y - height / 2, innerHeight - height) },
    { room: x - GAP - width, left: x - GAP - width, top: within(y - height / 2, innerHeight - height) },
    { room: innerHeight - y - GAP - height, left: within(x - width / 2, innerWidth - width), top: y + GAP },
    { room: y - GAP - height, left: within(x - width / 2, innerWidth - width), top: y - GAP - height },
  ];
  const side = sides.find(({ room }) => room >= 8) ?? sides.reduce((a, b) => (b.room > a.room ? b : a));
  tip.style.left = `${side.left}px`;
  tip.style.top = `${side.top}px`;
}
