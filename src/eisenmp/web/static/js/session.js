// The token, and what is done with it beside reading events. It is kept for this tab only, and never stays in the address.

const KEY = "eisenmp token";

/** Take a token out of the address (#token=…), remember it, and clean the address. True: there was one. */
export function tokenFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return false;
  setToken(found);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

/** The token, or null. */
export function token() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return kept; // storage is forbidden in this browser
  }
}

let kept = null;

/** Keep a token; the whole address that was printed will do as well. */
export function setToken(text) {
  const value = text.trim().replace(/^.*#?token=/, "");
  kept = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // see token()
  }
}

/** Ask the manager to do something. Returns what it said; throws an Error with words for people. */
export async function act(action, body = {}) {
  let answer;
  try {
    answer = await fetch(`actions/${action}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token() ?? ""}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new Error("The manager does not answer.");
  }
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // no JSON: the status says enough
  }
  if (!answer.ok) throw new Error(said.error ?? `The manager answered ${answer.status}.`);
  return said.said ?? "Done.";
}
