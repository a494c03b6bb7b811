// Values over time in a bounded room: when it is full, neighbours are put together and the grid is twice as coarse, so a
// minute and a day take the same memory. Pure.

const PEAK = new Set(["p95", "memory"]); // of these the highest is kept, of all others the mean

const peaks = (name) => PEAK.has(name.split(":", 1)[0]);

function merged(name, a, b, weightA, weightB) {
  if (a === null) return b;
  if (b === null) return a;
  return peaks(name) ? Math.max(a, b) : (a * weightA + b * weightB) / (weightA + weightB);
}

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

export class Series {
  /** @param limit the most points that are kept (an even number). */
  constructor(limit = 600) {
    this.limit = limit;
    this.t = [];
    this.columns = new Map(); // name, such as "rate", "queue:blue" or "cpu:0" -> a value or null for each of t
    this.spacing = 0; // seconds that one point stands for at least
    this.weight = 1; // how many values the last point is made of
  }

  /** Take over what the server has kept. `columns`: an object of arrays; short ones are those that began late. */
  load(t, columns) {
    const from = Math.max(0, t.length - 2 * this.limit);
    this.t = t.slice(from).map(Number);
    this.columns = new Map();
    for (const [name, values] of Object.entries(columns)) {
      const late = Math.max(0, t.length - values.length);
      this.columns.set(name, this.t.map((_, i) => number(values[i + from - late])));
    }
    this.weight = 1;
    this.spacing = medianGap(this.t);
    while (this.t.length > this.limit) this.halve();
  }

  /** One more moment. `values`: an object name -> number or null. */
  push(t, values) {
    const last = this.t.length - 1;
    if (last >= 0 && t - this.t[last] < this.spacing * 0.9) {
      for (const [name, value] of Object.entries(values)) {
        const column = this.column(name);
        column[last] = merged(name, column[last], number(value), this.weight, 1);
      }
      this.weight += 1;
      return;
    }
    this.t.push(t);
    this.weight = 1;
    for (const name of Object.keys(values)) this.column(name);
    for (const [name, column] of this.columns) column[last + 1] = number(values[name]);
    if (this.t.length > this.limit) this.halve();
  }

  /** The values under a name; unknown ones are all null. */
  get(name) {
    return this.columns.get(name) ?? this.t.map(() => null);
  }

  column(name) {
    let column = this.columns.get(name);
    if (column === undefined) {
      column = this.t.map(() => null);
      this.columns.set(name, column);
    }
    return column;
  }

  halve() {
    const old = this.t;
    this.t = old.filter((_, i) => i % 2 === 0);
    for (const [name, column] of this.columns) {
      const half = this.t.map((_, i) => merged(name, column[2 * i], column[2 * i + 1] ?? null, 1, 1));
      if (half.every((value) => value === null)) this.columns.delete(name); // a slot or a queue that has long gone
      else this.columns.set(name, half);
    }
    this.spacing = Math.max(2 * this.spacing, medianGap(this.t));
    this.weight = old.length % 2 ? 1 : 2;
  }
}

function medianGap(t) {
  if (t.length < 3) return 0;
  const gaps = t.slice(1).map((value, i) => value - t[i]).sort((a, b) => a - b);
  return gaps[Math.floor(gaps.length / 2)];
}
