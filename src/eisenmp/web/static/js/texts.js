// Failures with their tracebacks, and what the workers say. Hostile text: set as text, never as markup.

import { el, keyed, mark, say } from "./dom.js";
import { clock, plural } from "./format.js";
import { ticketOf } from "./glance.js";
import { FAILURES } from "./store.js";

// ---- failures

function failureRow(failure) {
  const summary = el(
    "summary",
    {},
    el("span", { class: "when" }),
    el("span", { class: "kind" }),
    el("span", { class: "what" }),
    el("span", { class: "where" }),
  );
  return el("details", { "data-failure": failure.id }, summary, el("pre", { tabindex: "0" }));
}

function showFailure(row, failure) {
  const [when, kind, what, where] = row.firstChild.children;
  say(when, clock(failure.seconds, true));
  say(kind, failure.kind);
  kind.dataset.kind = failure.kind;
  say(what, failure.text.trim());
  say(where, [ticketOf(failure), failure.slot === null ? "" : `slot ${failure.slot}`].filter(Boolean).join(" · "));
  say(row.lastChild, (failure.traceback || failure.text).trimEnd());
}

/** Give back shows the failures, the newest first. */
export function makeFailures(byId) {
  const rows = keyed(byId("failure-rows"), failureRow, showFailure);
  return ({ failures }) => {
    rows([...failures].reverse(), ({ id }) => id);
    mark(byId("no-failures"), "hidden", failures.length > 0);
    say(byId("failure-counts"), failures.length < FAILURES ? "" : `the newest ${FAILURES}`);
  };
}

// ---- logs

const WEIGHTS = { DEBUG: 10, INFO: 20, print: 20, news: 25, WARNING: 30, warning: 30, ERROR: 40, CRITICAL: 50 };

const weight = ({ level }) => WEIGHTS[level] ?? 20;

/** Whether a line passes the filter: "all", a least weight, or a level's own name; and holds the words. */
export function passes(log, level, words) {
  const fits = level === "all" || (level in WEIGHTS ? log.level === level : weight(log) >= Number(level));
  return fits && (words === "" || `${log.worker ?? ""} ${log.text}`.toLowerCase().includes(words));
}

function logRow(log) {
  const row = el("tr", { "data-weight": weight(log) });
  for (const text of [clock(log.seconds, true), log.level, log.worker ?? "", log.text]) row.append(el("td", {}, String(text)));
  return row;
}

/** Give back shows the log lines. */
export function makeLogs(byId) {
  const frame = byId("log-frame");
  const follow = byId("log-follow");
  const rows = keyed(byId("log-rows"), logRow, () => {});
  let logs = [];

  const show = () => {
    const level = byId("log-level").value;
    const words = byId("log-words").value.trim().toLowerCase();
    const shown = logs.filter((log) => passes(log, level, words));
    rows(shown, ({ id }) => id);
    mark(byId("no-logs"), "hidden", shown.length > 0);
    say(byId("no-logs"), logs.length ? `${plural(logs.length, "line")}, none of which pass the filter.` : "Nothing yet.");
    if (follow.checked) frame.scrollTop = frame.scrollHeight;
  };
  byId("log-level").addEventListener("change", show);
  byId("log-words").addEventListener("input", show);
  follow.addEventListener("change", show);
  // Whoever scrolls up wants to read; whoever comes back to the end wants to follow.
  frame.addEventListener("scroll", () => { follow.checked = atEnd(frame); }, { passive: true });

  return (store) => {
    logs = store.logs;
    show();
  };
}

const atEnd = (frame) => frame.scrollHeight - frame.scrollTop - frame.clientHeight < 24;
