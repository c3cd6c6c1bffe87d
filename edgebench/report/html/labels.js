// Names of the front beside its points, where nothing else stands; a line leads to those further off.
// Where there is no room for all names, numbers stand for them, and a key below tells them.
const RINGS = [13, 20, 30, 42, 56, 74, 96, 122, 152];
const WAYS = Array.from({ length: 16 }, (_, way) => (way * Math.PI) / 8);
const LINE = 15; // height of a label

const pen = document.createElement("canvas").getContext("2d");
function wide(words, bold) {
  pen.font = `${bold ? 700 : 400} 12px ${page.themes.named.config.font}`;
  return pen.measureText(words).width + 4;
}

const around = (x, y, half) => ({ left: x - half, right: x + half, top: y - half, bottom: y + half });
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

// Where the points are in the chart, in pixels: its own view is asked.
function pixelsOf(view, row) {
  const [x, y] = [row.numbers[xField()], row.numbers[AXES[state.against]]];
  return x === undefined || y === undefined ? null : { x: view.scale("x")(x), y: view.scale("y")(y) };
}

// Places for labels of these sizes, or null where not all of them find one.
function placed(labels, taken, width, height) {
  const boxes = [...taken];
  const found = [];
  for (const label of labels) {
    const place = placeOf(label, boxes, width, height);
    if (!place) return null;
    boxes.push(place.box, ...place.steps);
    found.push({ ...label, ...place });
  }
  return found;
}

function placeOf(label, boxes, width, height) {
  for (const ring of RINGS) {
    for (const way of WAYS) {
      const [dx, dy] = [Math.cos(way), -Math.sin(way)];
      const x = label.x + ring * dx - (dx < -0.1 ? label.size : dx < 0.1 ? label.size / 2 : 0);
      const y = label.y + ring * dy;
      const box = { left: x - 1, right: x + label.size, top: y - LINE / 2, bottom: y + LINE / 2 };
      if (box.left < 0 || box.right > width || box.top < -6 || box.bottom > height) continue;
      if (boxes.some((other) => meet(box, other))) continue;
      const steps = ring > 20 ? leader(label, box) : [];
      if (steps.some((step) => boxes.some((other) => meet(step, other) && !other.labelled))) continue;
      return { box, steps, textX: x, textY: y };
    }
  }
  return null;
}

// The way from a point to its label, as small boxes that later labels keep free.
function leader(label, box) {
  const [endX, endY] = [Math.min(Math.max(label.x, box.left), box.right), Math.min(Math.max(label.y, box.top), box.bottom)];
  const length = Math.hypot(endX - label.x, endY - label.y);
  const steps = [];
  for (let at = 13; at < length; at += 4) {
    steps.push({ ...around(label.x + ((endX - label.x) * at) / length, label.y + ((endY - label.y) * at) / length, 1), labelled: true });
  }
  return steps;
}

function labelTradeoff() {
  const view = views.tradeoff;
  if (!view || state.group < 0) return;
  const drawn = matching().map((row) => ({ row, at: pixelsOf(view, row) })).filter(({ at }) => at);
  const wanted = drawn.filter(({ row }) => row.on_front || row.pick).sort((a, b) => (b.row.pick ?? 0) - (a.row.pick ?? 0) || a.at.x - b.at.x);
  const taken = drawn.map(({ at }) => around(at.x, at.y, 8));
  for (const floor of state.against === "quality" ? page.words[state.group].floors : []) {
    const [y, room] = [view.scale("y")(floor.bound), wide(floor.words) + 6];
    taken.push({ left: view.width() - room, right: view.width(), top: y - 18, bottom: y + 2, labelled: true });
  }
  const named = (words) => wanted.map(({ row, at }, index) => ({ ...at, pick: !!row.pick, words: words(row, index), size: wide(words(row, index), row.pick) }));
  const byName = placed(named((row) => row.label), taken, view.width(), view.height());
  const found = byName ?? placed(named((_, index) => String(index + 1)), taken, view.width(), view.height()) ?? [];
  byId("key").hidden = byName !== null;
  byId("key").replaceChildren(...(byName ? [] : wanted.map(({ row }) => make("li", { className: row.pick ? "pick" : "" }, nameOf(row)))));
  view.data("labels", found.map(({ textX, textY, words, pick }) => ({ x: textX + 1, y: textY, words, pick })))
    .data("leaders", found.filter(({ steps }) => steps.length).map(({ x, y, steps }) => (
      { x: x + (steps[0].left + 1 - x), y: y + (steps[0].top + 1 - y), x2: steps.at(-1).left + 1, y2: steps.at(-1).top + 1 })))
    .runAsync().then(() => { byId("chart-tradeoff").dataset.labelled = "true"; });
}
