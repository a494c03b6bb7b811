// A line as high as a word, for a cell of a table.

import { colour } from "./theme.js";

const POINTS = 60;
const WIDTH = 72; // as in the style sheet; asking a hundred canvases for their size costs a layout each
const HEIGHT = 18;
const narrow = matchMedia("(max-width: 640px)"); // where they are hidden

/** Draw the newest values; nothing is drawn of what nobody knows. `floor`: the least that the top stands for. */
export function spark(canvas, values, floor) {
  if (narrow.matches) return;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(WIDTH * ratio)) {
    canvas.width = Math.round(WIDTH * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, WIDTH, HEIGHT);
  const recent = values.slice(-POINTS);
  const top = recent.reduce((most, value) => Math.max(most, value ?? 0), floor) * 1.05;
  const path = new Path2D();
  let first = null;
  let x = 0;
  recent.forEach((value, i) => {
    if (value === null) return;
    x = ((i + POINTS - recent.length) / (POINTS - 1)) * WIDTH;
    const y = HEIGHT - 1 - (value / top) * (HEIGHT - 2);
    if (first === null) path.moveTo((first = x), y);
    else path.lineTo(x, y);
  });
  if (first === null) return;
  pen.strokeStyle = colour("accent");
  pen.lineWidth = 1.2;
  pen.lineJoin = "round";
  pen.stroke(path);
  path.lineTo(x, HEIGHT);
  path.lineTo(first, HEIGHT);
  pen.fillStyle = colour("accent", 0.13);
  pen.fill(path);
}
