// Accuracy over time of token budgets and votes, and the fits of what prompts and steps cost.
function drawScalings() {
  report.scalings.forEach((group, number) => {
    drawScaling(`scaling-${number}`, group);
    group.cells.forEach((cell, place) => cell.fits.forEach((fit, which) => draw(
      `fit-${number}-${place}-${which}`, "cost_fit", { cost: fit.points },
      () => ({ height: 190, x_title: fit.x_title }), { instead: fit.points.length ? "" : fit.words })));
  });
}

function drawScaling(name, group) {
  const labels = group.cells.map((cell) => cell.label);
  const last = Math.max(...group.cells.flatMap((cell) => cell.points.map((point) => point.seconds)));
  const points = group.cells.flatMap((cell) => cell.points.map((point) => ({ ...point, votes: String(point.votes), label: cell.label })));
  const front = group.cells.flatMap((cell) => {
    const steps = cell.points.filter((point) => point.front).map(({ seconds, accuracy }) => ({ seconds, accuracy, label: cell.label }));
    return steps.length ? [...steps, { ...steps.at(-1), seconds: last }] : [];
  });
  const votes = unique(group.cells.flatMap((cell) => cell.points.map((point) => point.votes))).sort((a, b) => a - b).map(String);
  return draw(name, "scaling", { scaling: points, scaling_front: front }, (width, theme) => ({
    height: width < 560 ? 320 : 380, x_title: width < 560 ? group.x_title.replace(", less is better", "") : group.x_title,
    x_scale: scaleOf(points.map((point) => point.seconds), 6, 24),
    label_domain: labels, label_range: palette(labels, theme), legend_columns: width < 560 ? 1 : 2, shape_domain: votes,
  }));
}
