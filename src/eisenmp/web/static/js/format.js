// Numbers, durations and sizes as people read them. Pure; `null` is "nobody knows" and becomes a dash.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 1234567 -> "1,234,567". */
export function count(value) {
  return known(value) ? whole.format(value) : UNKNOWN;
}

/** Three digits that matter: 0.0123, 1.23, 12.3, 123; large ones shortened: 12.3k, 4.56M. */
export function compact(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return `${threeDigits(value / (unit === 1e4 ? 1e3 : unit))}${letter}`;
  }
  return size >= 1000 ? whole.format(value) : threeDigits(value);
}

function threeDigits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return whole.format(value);
  const digits = size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return String(Number(value.toFixed(digits)));
}

/** A length of time in seconds: 350 µs, 12.3 ms, 1.23 s, 2:05 min, 3:07:00 h. */
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds <= 0) return "0 s";
  if (seconds < 0.001) return `${threeDigits(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${threeDigits(seconds * 1e3)} ms`;
  if (seconds < 60) return `${threeDigits(seconds)} s`;
  return `${clock(seconds)} ${seconds < 3600 ? "min" : "h"}`;
}

/** A point in the job's time, or a time left: 0:07, 12:05, 3:07:00, 2 d 3:07:00. */
export function clock(seconds, tenths = false) {
  if (!known(seconds)) return UNKNOWN;
  const sign = seconds < 0 ? "-" : "";
  const all = tenths ? Math.round(Math.abs(seconds) * 10) / 10 : Math.round(Math.abs(seconds));
  const days = Math.floor(all / 86400);
  const hours = Math.floor(all / 3600) % 24;
  const minutes = Math.floor(all / 60) % 60;
  const rest = all % 60;
  const last = (tenths ? rest.toFixed(1) : String(Math.floor(rest))).padStart(tenths ? 4 : 2, "0");
  const middle = hours || days ? `${hours}:${String(minutes).padStart(2, "0")}` : String(minutes);
  return `${sign}${days ? `${days} d ` : ""}${middle}:${last}`;
}

/** Bytes, in the units of memory: 512 B, 12.3 MiB. */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let size = value;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(size) < 1024) return `${threeDigits(size)} ${unit}`;
    size /= 1024;
  }
  return `${threeDigits(size)} TiB`;
}

/** 0.6234 -> "62 %"; never "100 %" before all is done. */
export function percent(share) {
  if (!known(share)) return UNKNOWN;
  return `${share >= 1 ? 100 : Math.min(99, Math.floor(share * 100))} %`;
}

/** "1 chunk", "3 chunks". */
export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
