// Workers and feeders: a row for each, changed in place. Roles are named since a narrow page lays rows out as boxes, and
// browsers then forget that they were rows.

import { el, fill, keyed, mark, say } from "./dom.js";
import { bytes, clock, compact, count, duration, percent } from "./format.js";
import { isStraggler, stragglerFrom } from "./lanes.js";
import { spark } from "./sparks.js";

function cell(label = "", classes = "", ...children) {
  return el("td", { role: "cell", class: classes || null, "data-label": label || null }, ...children);
}

/** Set a cell's text; a blank one is left out where a row is no row of a table. */
function put(node, text, blank = text === "") {
  say(node, text);
  node.classList.toggle("blank", blank);
}

// ---- workers

const sparkCell = (label) =>
  cell(label, "n", el("span", { class: "spark-value" }), el("canvas", { class: "spark", "aria-hidden": "true" }));

function workerRow({ slot }) {
  const button = el("button", { type: "button", "data-restart": slot, "aria-label": `Restart the worker of slot ${slot}` }, "Restart");
  return el(
    "tr",
    { role: "row", "data-slot": slot },
    el("th", { role: "rowheader", scope: "row", class: "n slot" }, String(slot)),
    cell("", ""),
    cell("", "", el("span", { class: "state" }, el("i", { "aria-hidden": "true" }), el("span"))),
    cell("", "mono cut line"),
    cell("for", "n"),
    cell("chunks/s", "n"),
    sparkCell("CPU"),
    sparkCell("memory"),
    cell("restarts", "n"),
    cell("", "act", button),
  );
}

function showUse(node, values, text, floor) {
  const [value, canvas] = node.children;
  say(value, text);
  spark(canvas, values, floor);
}

/** Give back shows the workers. */
export function makeWorkers(byId) {
  const body = byId("worker-rows");
  let series = null;
  let slowFrom = Infinity;
  let restarts = false;

  const change = (row, worker) => {
    const [, process, state, ticket, age, rate, cpu, memory, died, act] = row.cells;
    put(process, `${worker.name}${worker.pid ? ` · ${worker.pid}` : ""}`);
    mark(state.firstChild, "data-state", worker.state);
    say(state.firstChild.lastChild, worker.state);
    put(ticket, worker.ticket || "");
    mark(ticket, "title", worker.ticket || null);
    put(age, worker.age === null ? "" : duration(worker.age));
    age.classList.toggle("slow", worker.age !== null && worker.age > slowFrom);
    put(rate, compact(worker.rate));
    showUse(cpu, series.get(`cpu:${worker.slot}`), worker.cpu === null ? "–" : `${Math.round(worker.cpu)} %`, 100);
    showUse(memory, series.get(`memory:${worker.slot}`), bytes(worker.memory), 1);
    put(died, count(worker.restarts));
    died.classList.toggle("bad", worker.restarts > 0);
    act.firstChild.disabled = !restarts;
  };
  const rows = keyed(body, workerRow, change);
  const manager = el(
    "tr",
    { role: "row", class: "manager" },
    ...[cell(), cell(), cell("", "", "the manager"), cell(), cell(), cell(), sparkless("CPU"), sparkless("memory"), cell(), cell()],
  );
  body.after(el("tfoot", { role: "rowgroup" }, manager));

  return (store, can) => {
    const { state } = store;
    series = store.series;
    restarts = can("restart");
    slowFrom = stragglerFrom(store.lanes.between(state.seconds - 900, state.seconds, state.seconds));
    rows(state.workers, ({ slot }) => slot);
    const { pid, cpu, memory } = state.manager ?? {};
    put(manager.cells[1], pid ? `pid ${pid}` : "");
    say(manager.cells[6].firstChild, cpu === null || cpu === undefined ? "–" : `${Math.round(cpu)} %`);
    say(manager.cells[7].firstChild, bytes(memory));
  };
}

const sparkless = (label) => cell(label, "n", el("span", { class: "spark-value" }), el("span", { class: "spark" }));

// ---- feeders

function feederRow() {
  return el(
    "tr",
    { role: "row" },
    el("th", { role: "rowheader", scope: "row", class: "cut line" }),
    cell("", "wide line", el("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, el("i"))),
    cell("done", "n"),
    cell("of", "n"),
    cell("read", "n faint"),
    cell("items/s", "n"),
    cell("left", "n"),
  );
}

function showFeeder(row, stream) {
  const [name, progress, done, total, made, rate, left] = row.cells;
  const share = stream.total === null ? null : stream.total > 0 ? stream.done / stream.total : 1;
  put(name, stream.feeders > 1 ? `${stream.name} (${stream.feeders} feeders)` : stream.name);
  mark(name, "title", stream.name);
  const bar = progress.firstChild;
  bar.classList.toggle("unknown", share === null);
  fill(bar, share ?? 0);
  mark(bar, "aria-label", `${stream.name}: ${share === null ? "how many is unknown" : percent(share)}`);
  mark(bar, "aria-valuenow", share === null ? null : Math.floor(share * 100));
  put(done, count(stream.done));
  put(total, stream.total === null ? "unknown" : count(stream.total));
  put(made, count(stream.made));
  put(rate, compact(stream.rate));
  put(left, stream.left === null ? "" : clock(stream.left));
}

/** Give back shows what the job is fed with. */
export function makeFeeders(byId) {
  const rows = keyed(byId("feeder-rows"), feederRow, showFeeder);
  return ({ state }) => rows(state.streams, ({ name, feeders }) => `${feeders > 0} ${name}`);
}
