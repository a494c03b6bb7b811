// What each worker did when: blocks of time by slot, bounded; where they are on the picture, and what is under a point.
// Pure: the picture itself is drawn by timeline.js.

const KEEP = 6000; // blocks; of more, the older half is made coarser: the newest stay as they are, the whole job is there

/**
 * One block: `end` null while it is still going on; `chunks`: how many it stands for; `idle`: seconds in it without work,
 * where blocks have been put together.
 */
function block([slot, start, end, kind, ticket, chunks]) {
  return { slot, start, end, kind, ticket: ticket || "", chunks: chunks ?? 1, idle: 0 };
}

/** The seconds of a block, without what is idle in it. */
export function busy({ start, until, idle }) {
  return until - start - idle;
}

export class Lanes {
  constructor(keep = KEEP) {
    this.keep = keep;
    this.blocks = new Map(); // in the order in which they were first heard of
  }

  clear() {
    this.blocks.clear();
  }

  /** New or changed blocks, as the server sends them. */
  take(rows) {
    for (const row of rows) this.add(block(row));
    if (this.blocks.size > this.keep) this.coarsen();
  }

  add(one) {
    this.blocks.set(`${one.slot} ${one.start} ${one.kind}`, one);
  }

  coarsen() {
    const all = [...this.blocks.values()].sort((a, b) => a.start - b.start);
    const half = Math.floor(all.length / 2);
    const old = all.slice(0, half);
    const room = Math.floor(this.keep / 4);
    const slots = new Set(old.map(({ slot }) => slot)).size;
    const width = Math.max(0.001, ((old.at(-1).start - old[0].start) * slots) / Math.max(1, room - 2 * slots));
    const kept = thinned(old, width).slice(-room);
    this.blocks.clear();
    for (const one of kept) this.add(one);
    for (const one of all.slice(half)) this.add(one);
  }

  /** Slot -> its blocks that touch the time from..to, earliest first. Open blocks end at `now`. */
  between(from, to, now) {
    const found = new Map();
    for (const one of this.blocks.values()) {
      const until = one.end ?? Math.max(now, one.start);
      if (until < from || one.start > to) continue;
      if (!found.has(one.slot)) found.set(one.slot, []);
      found.get(one.slot).push({ ...one, until, open: one.end === null });
    }
    for (const blocks of found.values()) blocks.sort((a, b) => a.start - b.start);
    return found;
  }

  /** When the oldest block that is kept begins; `now` when there is none. */
  first(now) {
    let first = now;
    for (const { start } of this.blocks.values()) first = Math.min(first, start);
    return first;
  }
}

/** Blocks (earliest first) with those of one slot and kind that begin within the same `width` seconds put together. */
export function thinned(blocks, width) {
  const result = [];
  const last = new Map(); // by slot
  for (const one of blocks) {
    const before = last.get(one.slot);
    const cell = Math.floor(one.start / width);
    if (before && before.end !== null && one.end !== null && before.kind === one.kind && before.cell === cell) {
      before.idle += Math.max(0, one.start - before.end) + one.idle;
      before.end = Math.max(before.end, one.end);
      before.chunks += one.chunks;
      continue;
    }
    const copy = { ...one, cell };
    last.set(one.slot, copy);
    result.push(copy);
  }
  return result;
}

/** From how many seconds on a chunk counts as a straggler: four times the median of these, and never less than one. */
export function stragglerFrom(found) {
  const each = [];
  for (const blocks of found.values()) {
    for (const one of blocks) {
      if (one.kind === "work" && !one.open) each.push(busy(one) / one.chunks);
    }
  }
  if (each.length < 4) return Infinity;
  each.sort((a, b) => a - b);
  return Math.max(1, 4 * each[Math.floor(each.length / 2)]);
}

/** Whether a block took longer than others do. */
export function isStraggler(one, limit) {
  return one.kind === "work" && busy(one) / one.chunks > limit;
}

/** The stretch of time to show: `span` seconds up to `now`, less while the job is young; `span` 0: all that is kept. */
export function stretch(span, now, first) {
  const from = span > 0 ? Math.max(0, now - span) : first;
  return { from, to: Math.max(now, from + 5) };
}

/** The block of one lane at a time, or the nearest one within `reach` seconds; null when there is none. */
export function blockAt(blocks, time, reach) {
  let best = null;
  let distance = reach;
  for (const one of blocks ?? []) {
    const away = time < one.start ? one.start - time : time > one.until ? time - one.until : 0;
    if (away < distance || (away === 0 && best === null)) {
      best = one;
      distance = away;
      if (away === 0) break;
    }
  }
  return best;
}

/** Where to go from a block: its neighbour in the lane (dx) or the block at the same time in another lane (dy). */
export function neighbour(found, slots, current, dx, dy) {
  if (current === null || !slots.includes(current.slot)) {
    const first = slots.find((slot) => found.get(slot)?.length);
    return first === undefined ? null : found.get(first).at(-1);
  }
  const lane = found.get(current.slot) ?? [];
  if (dx) {
    const index = lane.findIndex((one) => one.start >= current.start);
    const at = index < 0 ? lane.length - 1 : index;
    return lane[Math.min(lane.length - 1, Math.max(0, at + dx))] ?? null;
  }
  const middle = (current.start + current.until) / 2;
  for (let i = slots.indexOf(current.slot) + dy; i >= 0 && i < slots.length; i += dy) {
    const there = blockAt(found.get(slots[i]), middle, Infinity);
    if (there !== null) return there;
  }
  return current;
}
