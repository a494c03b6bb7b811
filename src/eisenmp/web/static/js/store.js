// All that the page knows of a job, made of the server's history and states. Every part is bounded. No DOM.

import { Lanes } from "./lanes.js";
import { Series } from "./series.js";

export const FAILURES = 200;
export const LOGS = 500;

export class Store {
  constructor() {
    this.series = new Series();
    this.lanes = new Lanes();
    this.failures = []; // the newest last
    this.logs = []; // each with a number of its own, `id`
    this.state = null; // the last one
    this.heard = 0; // log lines so far
  }

  /** Begin anew from what the server has kept. */
  load(history) {
    this.series.load(history.series?.t ?? [], columnsOf(history.series ?? {}));
    this.lanes.clear();
    this.failures = [];
    this.logs = [];
    this.lanes.take(history.lanes ?? []);
    this.keep(history);
    this.state = history.state ?? null;
  }

  /** The next state. False: states were missed, or the server has begun anew, so ask for the history. */
  take(state) {
    if (this.state !== null && state.n !== this.state.n + 1) return false;
    this.series.push(state.seconds, valuesOf(state));
    this.lanes.take(state.lanes ?? []);
    this.keep(state);
    this.state = state;
    return true;
  }

  keep({ failures, logs }) {
    for (const failure of failures ?? []) {
      const known = this.failures.findIndex(({ id }) => id === failure.id);
      if (known < 0) this.failures.push(failure);
      else this.failures[known] = failure;
    }
    this.failures.splice(0, this.failures.length - FAILURES);
    for (const log of logs ?? []) this.logs.push({ ...log, id: ++this.heard });
    this.logs.splice(0, this.logs.length - LOGS);
  }
}

/** The stream that stands for the whole job. */
export function whole(state) {
  return state.all ?? state.streams?.[0] ?? null;
}

function columnsOf({ rate, p50, p95, queues, cpu, memory }) {
  const columns = { rate: rate ?? [], p50: p50 ?? [], p95: p95 ?? [] };
  for (const [prefix, group] of Object.entries({ queue: queues, cpu, memory })) {
    for (const [name, values] of Object.entries(group ?? {})) columns[`${prefix}:${name}`] = values;
  }
  return columns;
}

function valuesOf(state) {
  const values = {
    rate: whole(state)?.rate ?? null,
    p50: state.latency?.p50 ?? null,
    p95: state.latency?.p95 ?? null,
  };
  for (const { name, fill } of state.queues ?? []) values[`queue:${name}`] = fill;
  for (const { slot, cpu, memory } of state.workers ?? []) {
    values[`cpu:${slot}`] = cpu;
    values[`memory:${slot}`] = memory;
  }
  return values;
}
