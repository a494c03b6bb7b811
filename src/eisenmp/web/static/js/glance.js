// The top of the page: what job this is, how far it is, and whether anything is wrong.

import { fill, mark, say } from "./dom.js";
import { clock, compact, count, percent, plural } from "./format.js";
import { whole } from "./store.js";

const SPEAK_EVERY = 15000; // milliseconds: failures may come twice a second, and somebody listens to them
const GIVEN_UP = 3; // attempts without an answer, after which it is said in so many words

const PHASES = {
  connecting: "Connecting",
  running: "Running",
  stopping: "Stopping",
  over: "Over",
  lost: "No connection",
  refused: "Not connected",
};

/** Everything is looked up once; give back shows a state and how the line is. */
export function makeGlance(byId) {
  const at = (id) => byId(id);
  const phase = at("phase");
  let spoken = -SPEAK_EVERY;

  function showJob({ job }) {
    say(at("job-name"), job.name);
    mark(at("job-name"), "title", job.name);
    const began = new Date(job.started * 1000).toLocaleString();
    const facts = [`pid ${job.pid}`, `${job.engine}, ${job.start_method}`, `Python ${job.python}`, `eisenmp ${job.version}`];
    say(at("job-facts"), [...facts, `since ${began}`].join(" · "));
  }

  function showProgress(state, stream) {
    const share = shareOf(stream);
    say(at("share"), share === null ? (stream === null ? "–" : count(stream.done)) : percent(share));
    say(at("share-words"), share === null ? wordsWithoutTotal(stream) : `${count(stream.done)} of ${count(stream.total)} items`);
    const bar = at("progress-bar");
    bar.classList.toggle("unknown", share === null && !state.over);
    fill(bar, share ?? (state.over ? 1 : 0));
    mark(bar, "aria-valuenow", share === null ? null : Math.floor(share * 100));
  }

  function showTiles(state, stream) {
    const { chunks } = state;
    const bad = { failed: chunks.failed + chunks.partly_failed, aside: chunks.set_aside };
    say(at("tile-rate"), compact(stream?.rate));
    say(at("tile-left"), state.over ? "–" : clock(stream?.left));
    say(at("tile-seconds"), clock(state.seconds));
    say(at("tile-done"), count(chunks.done));
    say(at("tile-up"), `${state.up} of ${state.slots}`);
    say(at("tile-restarts"), count(state.restarts));
    for (const [name, number] of Object.entries(bad)) {
      say(at(`tile-${name}`), count(number));
      at(`tile-${name}`).parentElement.classList.toggle("bad", number > 0);
    }
  }

  function showAlarm({ state, failures }) {
    const words = wrongs(state);
    mark(at("alarm"), "hidden", words === "");
    if (words === "") return;
    say(at("alarm-title"), words);
    if (performance.now() - spoken >= SPEAK_EVERY) {
      spoken = performance.now();
      say(at("alarm-spoken"), words);
    }
    const last = failures.findLast(({ kind }) => kind === "failed" || kind === "set aside");
    say(at("alarm-text"), last ? `Last: ${last.text.trim().split("\n", 1)[0]} (${ticketOf(last)})` : "");
  }

  function showFarewell(state, line) {
    const words = farewell(state, line);
    mark(at("farewell"), "hidden", words === "");
    say(at("farewell"), words);
  }

  function showPhase(state, line) {
    const name = phaseOf(state, line);
    phase.dataset.phase = name;
    const wait = line.phase === "waiting" ? `; tries again${line.wait >= 2 ? ` every ${Math.round(line.wait)} s` : ""}` : "";
    say(phase.querySelector("span"), PHASES[name] + (name === "lost" ? wait : ""));
    mark(phase, "title", name === "lost" ? line.why : null);
    document.title = titleOf(state, line);
  }

  return (store, line) => {
    const { state } = store;
    showPhase(state, line);
    if (state === null) return;
    const stream = whole(state);
    showJob(state);
    showProgress(state, stream);
    showTiles(state, stream);
    showAlarm(store);
    showFarewell(state, line);
  };
}

function shareOf(stream) {
  if (stream === null || stream.total === null) return null;
  return stream.total > 0 ? stream.done / stream.total : 1;
}

function wordsWithoutTotal(stream) {
  return stream === null ? "nothing is fed" : "items, of an unknown number";
}

/** The ticket of a failure; a worker that died may have had none. */
export function ticketOf({ queue, ticket }) {
  return queue === null ? "at no ticket" : `${queue}_TID_${ticket}`;
}

/** "3 chunks failed, 1 set aside", or nothing. */
export function wrongs({ chunks }) {
  const words = [];
  if (chunks.failed) words.push(`${plural(chunks.failed, "chunk")} failed`);
  if (chunks.partly_failed) words.push(`${plural(chunks.partly_failed, "chunk")} failed in part`);
  if (chunks.set_aside) words.push(`${plural(chunks.set_aside, "chunk")} set aside`);
  return words.join(", ");
}

export function phaseOf(state, line) {
  if (line.phase === "refused") return "refused";
  if (state?.over) return "over";
  if (line.failures > 0 || line.phase === "waiting") return "lost";
  if (state === null || line.phase !== "open") return "connecting";
  return state.stopping ? "stopping" : "running";
}

function farewell(state, line) {
  if (state.over) {
    const ended = state.stopping ? "The job was stopped" : "The job is over";
    return `${ended} after ${clock(state.seconds)}. This is its last picture; nothing more will come.`;
  }
  if (line.failures < GIVEN_UP) return "";
  return `${line.why} The job may have ended. This is the picture of ${clock(state.seconds)}; the page goes on trying.`;
}

/** What the browser's tab says. */
export function titleOf(state, line) {
  if (state === null) return "eisenmp";
  const phase = phaseOf(state, line);
  const share = shareOf(whole(state));
  const wrong = wrongs(state) ? "! " : "";
  const how = phase === "running" ? (share === null ? "" : `${percent(share)} · `) : `${PHASES[phase].toLowerCase()} · `;
  return `${wrong}${how}${state.job.name} · eisenmp`;
}
