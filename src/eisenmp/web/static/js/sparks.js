// A line as high as a word, for a cell of a table.

import { colour } from "./theme.js";

const POINTS = 60;

/** Draw the newest values; nothing is drawn of what nobody knows. `floor`: the least that the top stands for. */
export function spark(canvas, values, floor) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return; // hidden, on a narrow page
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const recent = values.slice(-POINTS);
  const top = recent.reduce((most, value) => Math.max(most, value ?? 0), floor) * 1.05;
  const path = new Path2D();
  let first = null;
  let x = 0;
  recent.forEach((value, i) => {
    if (value === null) return;
    x = ((i + POINTS - recent.length) / (POINTS - 1)) * width;
    const y = height - 1 - (value / top) * (height - 2);
    if (first === null) path.moveTo((first = x), y);
    else path.lineTo(x, y);
  });
  if (first === null) return;
  pen.strokeStyle = colour("accent");
  pen.lineWidth = 1.2;
  pen.lineJoin = "round";
  pen.stroke(path);
  path.lineTo(x, height);
  path.lineTo(first, height);
  pen.fillStyle = colour("accent", 0.13);
  pen.fill(path);
}
