// Speed against the memory that a process was held to, with what was read from storage.
function drawBudgets() {
  report.budget_curves.forEach((curve, number) => {
    const budgets = curve.points.filter((point) => point.ms !== null);
    draw(`budgets-${number}`, "budgets", { budgets, misfits: curve.points.filter((point) => point.fits === false) }, () => ({
      x_scale: scaleOf(curve.points.map((point) => point.budget_mib), 4, 16),
      y_scale: scaleOf(budgets.map((point) => point.ms), 12, 16),
      y_title: curve.y_title, read_title: `read from storage a ${curve.unit} (MiB)`,
    }));
  });
}
