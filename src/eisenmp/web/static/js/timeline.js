// The picture of the lanes: one line for each worker, time from left to right. Free room is idle time.

import { el, mark, say } from "./dom.js";
import { clock, duration, plural } from "./format.js";
import { blockAt, busy, isStraggler, neighbour, stragglerFrom, stretch } from "./lanes.js";
import { colour, onTheme } from "./theme.js";

const AXIS = 20; // pixels for the times below
const FONT = "11px system-ui, sans-serif";
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const MOVES = { // keys -> how far along the lane, how many lanes down
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
};
const KINDS = { work: "at work", start: "starting", down: "down" };

export class Timeline {
  #span = 120;
  #store = null;
  #focus = null; // the block that is looked at: {slot, start}
  #scene = null;

  constructor(byId) {
    this.frame = byId("lanes");
    this.canvas = byId("lanes-canvas");
    this.tip = byId("lanes-tip");
    this.spoken = byId("lanes-spoken");
    this.limit = byId("straggler-limit");
    for (const input of byId("lanes-span").querySelectorAll("input")) {
      input.addEventListener("change", () => {
        this.#span = Number(input.value);
        this.#paint();
      });
      if (input.checked) this.#span = Number(input.value);
    }
    this.frame.addEventListener("pointermove", (event) => this.#point(event));
    this.frame.addEventListener("pointerdown", (event) => this.#point(event));
    this.frame.addEventListener("pointerleave", () => this.#look(null));
    this.frame.addEventListener("keydown", (event) => this.#key(event));
    this.frame.addEventListener("blur", () => this.#look(null));
    new ResizeObserver(() => this.#paint()).observe(this.frame);
    onTheme(() => this.#paint());
  }

  draw(store) {
    this.#store = store;
    this.#paint();
  }

  // ---- what is where

  #arrange() {
    const { state, lanes, failures } = this.#store;
    const now = state.seconds;
    const { from, to } = stretch(this.#span, now, lanes.first(now));
    const found = lanes.between(from, to, now);
    const slots = [...new Set([...state.workers.map(({ slot }) => slot), ...found.keys()])].sort((a, b) => a - b);
    const width = this.frame.clientWidth;
    const each = slots.length > 60 ? 9 : slots.length > 24 ? 15 : 24;
    const margin = slots.length ? 16 + 8 * String(slots.at(-1)).length : 16;
    const scale = (width - margin - 8) / (to - from);
    this.#scene = {
      now, from, to, found, slots, width, each, margin,
      height: slots.length * each + AXIS,
      x: (time) => margin + (time - from) * scale,
      time: (x) => from + (x - margin) / scale,
      reach: 6 / scale,
      limit: stragglerFrom(found),
      faults: failures.filter(({ slot, seconds }) => slot !== null && seconds >= from),
    };
    return this.#scene;
  }

  #focused() {
    if (this.#focus === null) return null;
    const lane = this.#scene.found.get(this.#focus.slot) ?? [];
    return lane.find(({ start }) => start === this.#focus.start) ?? null;
  }

  // ---- the picture

  #paint() {
    if (this.#store?.state == null || !this.frame.clientWidth) return;
    const scene = this.#arrange();
    const ratio = window.devicePixelRatio || 1;
    const { canvas } = this;
    const [wide, high] = [Math.round(scene.width * ratio), Math.round(scene.height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
      canvas.style.height = `${scene.height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, scene.width, scene.height);
    pen.font = FONT;
    this.#grid(pen, scene);
    pen.save();
    pen.beginPath();
    pen.rect(scene.margin, 0, scene.width - scene.margin, scene.height);
    pen.clip();
    scene.slots.forEach((slot, i) => {
      for (const one of scene.found.get(slot) ?? []) this.#block(pen, scene, one, i);
    });
    for (const fault of scene.faults) this.#fault(pen, scene, fault);
    pen.restore();
    this.#outline(pen, scene);
    this.#tell();
    say(this.limit, Number.isFinite(scene.limit) ? `longer than ${duration(scene.limit)}` : "much longer than others");
  }

  #grid(pen, { slots, each, margin, width, from, to, x, height }) {
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    const every = each < 11 ? 5 : 1;
    slots.forEach((slot, i) => {
      if (i % 2 === 0) {
        pen.fillStyle = colour("stripe");
        pen.fillRect(margin, i * each, width - margin, each);
      }
      pen.fillStyle = colour("muted");
      if (i % every === 0) pen.fillText(String(slot), margin - 6, i * each + each / 2 + 0.5);
    });
    const step = STEPS.find((one) => (one / (to - from)) * (width - margin) >= 64) ?? STEPS.at(-1);
    pen.textAlign = "center";
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      const at = Math.round(x(time)) + 0.5;
      pen.strokeStyle = colour("line");
      pen.beginPath();
      pen.moveTo(at, 0);
      pen.lineTo(at, slots.length * each);
      pen.stroke();
      pen.fillStyle = colour("muted");
      pen.fillText(clock(time), Math.min(width - 18, at), height - AXIS / 2 + 1);
    }
  }

  #block(pen, { x, each, limit, margin, width }, one, row) {
    const left = Math.max(margin - 9, x(one.start)); // what began long ago is not drawn from there
    const length = Math.min(width + 9, x(one.until)) - left;
    const top = row * each + 3;
    const high = each - 6;
    const wide = Math.max(1, length > 4 ? length - 1 : length); // a hair between neighbours
    if (one.kind === "work") {
      const share = one.idle > 0 ? busy(one) / (one.until - one.start) : 1; // as high as it was busy
      if (share < 1) {
        pen.fillStyle = colour("accent", 0.14);
        pen.fillRect(left, top, wide, high);
      }
      pen.fillStyle = isStraggler(one, limit) ? colour("slow") : one.chunks > 1 ? colour("accent", 0.55) : colour("accent");
      pen.fillRect(left, top + high * (1 - share), wide, high * share);
      return;
    }
    const tint = one.kind === "down" ? "bad" : "muted";
    pen.fillStyle = colour(tint, 0.16);
    pen.fillRect(left, top, wide, high);
    hatch(pen, left, top, wide, high, colour(tint, 0.8), one.kind === "down" ? 1 : -1);
  }

  #fault(pen, { slots, each, x }, { slot, seconds }) {
    const row = slots.indexOf(slot);
    if (row < 0) return;
    const at = x(seconds);
    const size = Math.min(this.#scene.width < 600 ? 3.5 : 4.5, each / 3);
    const middle = row * each + each / 2;
    pen.fillStyle = colour("bad");
    pen.strokeStyle = colour("panel");
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(at, middle - size);
    pen.lineTo(at + size, middle);
    pen.lineTo(at, middle + size);
    pen.lineTo(at - size, middle);
    pen.closePath();
    pen.stroke();
    pen.fill();
    pen.lineWidth = 1;
  }

  #outline(pen, { slots, each, x, margin }) {
    const one = this.#focused();
    if (one === null) return;
    const left = Math.max(margin, x(one.start));
    pen.strokeStyle = colour("ink");
    pen.lineWidth = 2;
    pen.strokeRect(left - 1, slots.indexOf(one.slot) * each + 2, Math.max(3, x(one.until) - left + 1), each - 4);
    pen.lineWidth = 1;
  }

  // ---- looking at one block

  #look(one) {
    this.#focus = one === null ? null : { slot: one.slot, start: one.start };
    this.#paint();
  }

  #point(event) {
    if (this.#scene === null) return;
    const box = this.canvas.getBoundingClientRect();
    const slot = this.#scene.slots[Math.floor((event.clientY - box.top) / this.#scene.each)];
    const one = blockAt(this.#scene.found.get(slot), this.#scene.time(event.clientX - box.left), this.#scene.reach);
    if (one?.slot !== this.#focus?.slot || one?.start !== this.#focus?.start) this.#look(one);
  }

  #key(event) {
    const step = MOVES[event.key];
    if (event.key === "Escape") return this.#look(null);
    if (step === undefined || this.#scene === null) return undefined;
    event.preventDefault();
    this.#look(neighbour(this.#scene.found, this.#scene.slots, this.#focused(), ...step));
    say(this.spoken, this.#words(this.#focused()).join(", "));
    return undefined;
  }

  #words(one) {
    if (one === null) return [];
    const length = one.until - one.start;
    const words = [`Worker ${one.slot}`, one.ticket ? one.ticket : KINDS[one.kind] ?? one.kind];
    if (one.chunks > 1) words.push(`and what followed: ${plural(one.chunks, "chunk")}, ${duration(busy(one) / one.chunks)} each`);
    if (one.idle > 0) words.push(`idle for ${duration(one.idle)} of it`);
    words.push(`${duration(length)}${one.open ? " so far" : ""}, from ${clock(one.start, true)}`);
    if (isStraggler(one, this.#scene.limit)) words.push("much longer than others");
    return words;
  }

  #tell() {
    const one = this.#focused();
    mark(this.tip, "hidden", one === null);
    if (one === null) return;
    const [title, ...rest] = this.#words(one);
    this.tip.replaceChildren(el("b", {}, title), ...rest.map((words) => el("span", {}, words)));
    const { x, slots, each, width, margin } = this.#scene;
    const left = Math.max(margin, Math.min(x(one.start), width - this.tip.offsetWidth - 4));
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${(slots.indexOf(one.slot) + 1) * each + 4}px`;
  }
}

/** Stripes, so that the kind shows without its colour. */
function hatch(pen, left, top, wide, high, stroke, lean) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, wide, high);
  pen.clip();
  pen.strokeStyle = stroke;
  pen.beginPath();
  for (let at = left - high; at < left + wide + high; at += 6) {
    pen.moveTo(at, lean > 0 ? top + high : top);
    pen.lineTo(at + high, lean > 0 ? top : top + high);
  }
  pen.stroke();
  pen.restore();
}
