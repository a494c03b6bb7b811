// Wires the page: events -> store -> what is shown, once a frame at most.
//
//   session.js   the token, and actions      stream.js    events of the server
//   store.js     all that is known           series.js    values over time      lanes.js    blocks of time
//   glance.js    the top                     charts.js    timeline.js  tables.js  texts.js   sparks.js
//   actions.js   buttons                     theme.js     dom.js       format.js

import { makeActions } from "./actions.js";
import { makeCharts } from "./charts.js";
import { byId, mark, say } from "./dom.js";
import { makeGlance, titleOf } from "./glance.js";
import { act, setToken, token, tokenFromAddress } from "./session.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { makeFeeders, makeWorkers } from "./tables.js";
import { makeFailures, makeLogs } from "./texts.js";
import { onTheme, themeButton } from "./theme.js";
import { Timeline } from "./timeline.js";

const store = new Store();
let line = { phase: "connecting", failures: 0 };
let due = false;

themeButton(byId("theme"));
const glance = makeGlance(byId);
const actions = makeActions(byId, act);
const workers = makeWorkers(byId);
const views = [makeFeeders(byId), makeFailures(byId), makeLogs(byId), makeCharts(byId)];
const timeline = new Timeline(byId);

function paint() {
  due = false;
  const { state } = store;
  const refused = line.phase === "refused";
  mark(byId("token-form"), "hidden", !refused);
  mark(byId("waiting"), "hidden", refused || state !== null);
  mark(byId("job"), "hidden", refused || state === null);
  say(byId("waiting"), line.phase === "waiting" ? `${line.why} Trying again …` : "Looking for the job …");
  glance(store, line);
  if (refused || state === null) return;
  actions.show(state, line.phase === "open" && !state.over);
  workers(store, actions.can);
  timeline.draw(store);
  for (const view of views) view(store);
}

/** Paint before the next frame. A page that nobody sees has no frames, so it only keeps what it is told. */
function soon() {
  if (document.hidden) document.title = titleOf(store.state, line); // the tab can be seen all the same
  if (due) return;
  due = true;
  requestAnimationFrame(paint);
}

function take(kind, object) {
  if (kind === "history") store.load(object);
  else if (kind === "state" && !store.take(object)) return false;
  if (store.state?.over) stream.over = true;
  soon();
  return true;
}

function tell(news) {
  line = news;
  soon();
  if (news.phase === "refused") askForToken(news.why);
}

function askForToken(why) {
  say(byId("token-why"), token() ? why : "This job is shown only to those who have its token.");
  byId("token-text").value = "";
  requestAnimationFrame(() => byId("token-text").focus()); // after the form is painted: what is hidden takes no focus
}

const stream = new Stream({ token, take, tell });

function start() {
  if (!token()) return tell({ phase: "refused", failures: 0 });
  return stream.run();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token-text").value);
  start();
});
addEventListener("hashchange", () => {
  if (!tokenFromAddress()) return;
  stream.over = false;
  stream.drop();
  start();
});
addEventListener("online", () => stream.now());
document.addEventListener("visibilitychange", () => document.hidden || stream.now());
onTheme(soon);
for (const link of document.querySelectorAll('a[href="#failures"]')) {
  link.addEventListener("click", (event) => { // #… belongs to the token
    event.preventDefault();
    byId("failures").scrollIntoView();
    byId("failures").focus({ preventScroll: true });
  });
}

tokenFromAddress();
start();
