// The charts: values over the job's time, with one cross-hair for all of them. uPlot draws; a legend of our own is text.

import { el, keyed, say } from "./dom.js";
import { clock, compact, duration } from "./format.js";
import { colour, onTheme } from "./theme.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const HEIGHT = 150;
const FONT = "11px system-ui, sans-serif";
const HUES = ["accent", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6"];
const MOST_LINES = HUES.length;

/** One chart in a figure. `lines`: [{name, label, hue, dash?, area?}]; `show` turns a value into text. */
class Chart {
  #plot = null;
  #lines = [];
  #data = [[]];
  #at = null; // index under the cross-hair

  constructor(figure, show) {
    this.show = show;
    this.room = figure.querySelector(".plot");
    this.legend = keyed(figure.querySelector(".legend"), legendEntry, (node, line) => this.#entry(node, line));
    new ResizeObserver(() => this.#fit()).observe(this.room);
    onTheme(() => this.#plot?.redraw(false, true));
  }

  draw(lines, data) {
    this.#data = data;
    const known = this.#lines.map(({ name }) => name).join("\n");
    const wanted = lines.map(({ name }) => name).join("\n");
    if (this.#plot !== null && known !== wanted) {
      this.#plot.destroy();
      this.#plot = null;
    }
    this.#lines = lines.map((line, i) => ({ ...line, values: data[i + 1] }));
    if (this.#plot === null) this.#make();
    else this.#plot.setData(data);
    this.#spell();
  }

  #fit() {
    const width = Math.floor(this.room.clientWidth);
    if (this.#plot !== null && width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #make() {
    const axis = {
      stroke: () => colour("muted"),
      font: FONT,
      grid: { stroke: () => colour("line"), width: 1 },
      ticks: { show: false },
    };
    const options = {
      width: Math.max(80, Math.floor(this.room.clientWidth)),
      height: HEIGHT,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "eisenmp" }, drag: { x: false, y: false }, y: false, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [
        { ...axis, size: 24, gap: 4, space: 64, incrs: STEPS, values: (_, ticks) => ticks.map((t) => clock(t)) },
        { ...axis, size: 52, gap: 6, space: 28, values: (_, ticks) => ticks.map((value) => this.show(value)) },
      ],
      series: [{}, ...this.#lines.map(plotted)],
      hooks: { setCursor: [(plot) => this.#hover(plot.cursor.idx)] },
    };
    this.#plot = new window.uPlot(options, this.#data, this.room);
  }

  #hover(index) {
    this.#at = index ?? null;
    this.#spell();
  }

  /** The legend: the values under the cross-hair, else the latest. */
  #spell() {
    this.legend(this.#lines, ({ name }) => name);
  }

  #entry(node, line) {
    const [swatch, label, value] = node.children;
    swatch.dataset.hue = line.hue;
    swatch.classList.toggle("dashed", Boolean(line.dash));
    say(label, line.label);
    const shown = this.#at === null ? latest(line.values) : line.values[this.#at];
    say(value, shown === null || shown === undefined ? "–" : (line.show ?? this.show)(shown));
  }
}

function plotted({ label, hue, dash, area }) {
  return {
    label,
    stroke: () => colour(hue),
    fill: area ? () => colour(hue, 0.13) : undefined,
    width: 1.5,
    dash,
    spanGaps: true,
    points: { show: (plot, index) => fewPoints(plot.data[index]), size: 4 },
  };
}

/** A line through less than three points can hardly be seen. */
function fewPoints(values) {
  let found = 0;
  for (const value of values) {
    if (value !== null && ++found > 2) return false;
  }
  return true;
}

function latest(values) {
  for (let i = values.length - 1; i >= 0; i--) {
    if (values[i] !== null) return values[i];
  }
  return null;
}

function legendEntry() {
  return el("li", {}, el("i", { class: "swatch", "aria-hidden": "true" }), el("span", { class: "label" }), el("b"));
}

const RATE = [{ name: "rate", label: "items a second", hue: "accent", area: true }];
const LATENCY = [
  { name: "p50", label: "median", hue: "accent" },
  { name: "p95", label: "95 % under", hue: "hue-2", dash: [5, 4] },
];

/** All charts. Give back draws them. */
export function makeCharts(byId) {
  const rate = new Chart(byId("chart-rate"), compact);
  const latency = new Chart(byId("chart-latency"), duration);
  const queues = new Chart(byId("chart-queues"), compact);
  return ({ series, state }) => {
    const { t } = series;
    rate.draw(RATE, [t, series.get("rate")]);
    latency.draw(LATENCY, [t, ...LATENCY.map(({ name }) => series.get(name))]);
    const lines = queueLines(state.queues);
    queues.draw(lines, [t, ...lines.map(({ name }) => series.get(`queue:${name}`))]);
  };
}

/** The queues to draw: those with the most in them when there are too many, in their own order. */
function queueLines(queues) {
  const shown = new Set([...queues].sort((a, b) => b.fill - a.fill).slice(0, MOST_LINES));
  const chosen = queues.length > MOST_LINES ? queues.filter((queue) => shown.has(queue)) : queues;
  return chosen.map(({ name, bound }, i) => ({
    name,
    label: name,
    hue: HUES[i],
    show: (fill) => (bound ? `${compact(fill)} of ${compact(bound)}` : compact(fill)),
  }));
}
