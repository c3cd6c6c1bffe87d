// Latency against the rate of queries: p99 of every rate that a search tried, the bound, and the knee.
function drawRates() {
  report.rate_curves.forEach((curve, number) => {
    const rates = curve.points;
    draw(`rates-${number}`, "rates", {
      rates, bound: [{ ms: curve.bound_ms }], knee: rates.filter((point) => point.rate_per_s === curve.knee_per_s),
    }, () => ({
      x_scale: scaleOf(rates.map((point) => point.rate_per_s), 12, 16),
      y_scale: scaleOf([curve.bound_ms, ...rates.flatMap((point) => [point.p50_ms, point.p99_ms, point.upper_ms ?? point.p99_ms])], 12, 16),
    }));
  });
}
