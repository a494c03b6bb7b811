// What one can do to the job: stop it, restart workers, have more or fewer of them, retry what was set aside.

import { mark, say } from "./dom.js";
import { plural } from "./format.js";

const SETTLE = 500; // milliseconds without another press before a new number of workers is asked for
const SHOWN = 12000; // milliseconds that an answer stays

/**
 * @param act (action, body) => what the manager said; throws with words
 * @returns {can, show}: whether an action can be taken now; show(state, connected)
 */
export function makeActions(byId, act) {
  const dialog = byId("ask");
  let possible = new Set();
  let there = 0; // workers that there are to be, as the manager knows it
  let wanted = null; // a number that has been asked for here, and that the manager has not told yet
  let settle = 0;
  let fade = 0;

  const can = (action) => possible.has(action);

  function tell(text, bad) {
    const news = byId("news");
    say(news, text);
    news.classList.toggle("bad", bad);
    mark(news, "hidden", false);
    clearTimeout(fade);
    fade = setTimeout(() => mark(news, "hidden", true), SHOWN);
  }

  async function run(action, body) {
    try {
      tell(await act(action, body), false);
    } catch (error) {
      tell(error.message, true);
      if (action === "resize") wanted = null;
    }
  }

  function ask({ title, text, yes, stop = false }, then) {
    say(byId("ask-title"), title);
    say(byId("ask-text"), text);
    say(byId("ask-yes"), yes);
    byId("ask-yes").classList.toggle("stop", stop);
    dialog.returnValue = "";
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && then(), { once: true });
    dialog.showModal();
  }

  function resize(by) {
    wanted = Math.max(1, (wanted ?? there) + by);
    say(byId("workers-wanted"), wanted);
    clearTimeout(settle);
    settle = setTimeout(() => run("resize", { workers: wanted }), SETTLE);
  }

  byId("stop").addEventListener("click", () => {
    const text = "Nothing more is read and no further chunk is handed out. Chunks at work are finished, results so far are kept.";
    ask({ title: "Stop the job?", text, yes: "Stop the job", stop: true }, () => run("stop", {}));
  });
  byId("restart-all").addEventListener("click", () => {
    const text = "One after the other; each finishes what it is at first, as far as it can.";
    ask({ title: `Restart ${plural(there, "worker")}?`, text, yes: "Restart all" }, () => run("restart", {}));
  });
  byId("retry").addEventListener("click", () => run("retry", {}));
  byId("fewer").addEventListener("click", () => resize(-1));
  byId("more").addEventListener("click", () => resize(+1));
  byId("worker-rows").addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-restart]");
    if (button !== null) run("restart", { slot: Number(button.dataset.restart) });
  });

  function show(state, connected) {
    possible = new Set(connected ? state.can : []);
    there = state.wanted ?? state.slots;
    if (wanted === there) wanted = null;
    byId("stop").disabled = !can("stop") || state.stopping;
    byId("restart-all").disabled = !can("restart");
    byId("retry").disabled = !can("retry");
    byId("more").disabled = !can("resize");
    byId("fewer").disabled = !can("resize") || (wanted ?? there) <= 1;
    say(byId("workers-wanted"), wanted ?? (there === state.slots ? there : `${state.slots} → ${there}`));
  }

  return { can, show };
}
