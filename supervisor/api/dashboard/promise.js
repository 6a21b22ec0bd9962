// The promise of the last hour: five numbers, and each stop as a point against the 2 s line.
import uPlot from "./uPlot.esm.js";
import { $, clock, ms, put } from "./dom.js";
import { promise } from "./jobs.js";

const HEIGHT = 112;
let plot = null;
let plotted = "";

export function drawPromise() {
  const told = promise();
  put($("p-count"), String(told.count));
  put($("p-p50"), ms(told.p50));
  put($("p-p99"), ms(told.p99));
  put($("p-late"), String(told.late));
  put($("p-survivors"), String(told.survivors));
  $("b-late").className = told.late ? "bad" : "good";
  $("b-survivors").className = told.survivors ? "bad" : "good";
  drawPlot(told.points);
}

/** The colours have changed. */
export function forget() { plotted = ""; }

function drawPlot(points) {
  const width = Math.max(200, $("chart").clientWidth);
  const key = `${points.length} ${points.at(-1)?.at} ${Math.floor(Date.now() / 30_000)} ${width}`;
  if (key === plotted) return;
  plotted = key;
  const now = Date.now() / 1000;
  const data = [points.map((stop) => stop.at / 1000), points.map((stop) => stop.gone_ms / 1000)];
  plot?.destroy();
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const quarters = (u, _, from, to) => { const first = Math.ceil(from / 900) * 900; return [0, 1, 2, 3].map((n) => first + 900 * n).filter((at) => at <= to); };
  plot = new uPlot({
    width, height: HEIGHT, legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0],
    scales: { x: { time: true, range: () => [now - 3600, now + 30] }, y: { range: (_, __, top) => [0, Math.max(2.4, (top ?? 0) * 1.1)] } },
    axes: [
      { ...axis, size: 22, splits: quarters, values: (_, splits) => splits.map((at) => clock(at * 1000).slice(0, 5)) },
      { ...axis, size: 36, splits: (u) => (u.scales.y.max > 6 ? [0, 2, u.scales.y.max] : [0, 1, 2]), values: (_, values) => values.map((v) => `${Math.round(v * 10) / 10} s`) },
    ],
    series: [{}, { paths: () => null, points: { show: true, size: 6, width: 0, fill: colour("--good"), stroke: colour("--good") } }],
    hooks: { draw: [(u) => drawLimit(u, colour("--bad"))] },
  }, data, $("chart"));
}

function drawLimit(u, colour) {
  const y = u.valToPos(2, "y", true);
  u.ctx.save();
  u.ctx.strokeStyle = colour;
  u.ctx.lineWidth = 1.5 * devicePixelRatio;
  u.ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  u.ctx.beginPath();
  u.ctx.moveTo(u.bbox.left, y);
  u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
  u.ctx.stroke();
  u.ctx.restore();
}
